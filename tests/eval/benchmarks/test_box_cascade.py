"""The cascade: what boxes an answer names, by hand; and the way from a language model's words to SAM-2's masks."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

import desa2va
from desa2va.eval.benchmarks.answer_file import AnswerFolder
from desa2va.eval.benchmarks.box_cascade import BoxCascade, read_boxes
from desa2va.eval.benchmarks.names import open_benchmark
from desa2va.eval.benchmarks.runner import Run, finished_run
from desa2va.eval.evaluate_desa2va import main
from desa2va.eval.provenance import sam2_sha256
from tests.eval.benchmarks.layouts import write_clips, write_refcoco
from tests.modeling_desa2va.conversion import published
from tests.training.data.readers.picture_layouts import SIZE, box_mask

TALL = (100, 200)  # a picture of 200 x 100 pixels; a thousandth is 0.2 across and 0.1 down


@pytest.mark.parametrize(
    ("text", "boxes"),
    [
        ("<ref>the dog</ref><box>[[250, 500, 750, 1000]]</box>", [(50, 50, 150, 100)]),
        ("<box>[[0,0,100,100], [900.5, 0, 1000, 10]]</box>", [(0, 0, 20, 10), (180.1, 0, 200, 1)]),
        ("<box>[[0,0,100,100]]</box> and <box>[[500,500,600,600]]</box>", [(0, 0, 20, 10), (100, 50, 120, 60)]),
        ("<|box_start|>(250,500),(750,1000)<|box_end|>", [(50, 50, 150, 100)]),
        ('```json\n[{"bbox_2d": [250, 500, 750, 1000], "label": "dog"}]\n```', [(50, 50, 150, 100)]),
        ('{"bbox": [250, 500, 750, 1000]}', [(50, 50, 150, 100)]),
        ("It is at [250, 500, 750, 1000].", [(50, 50, 150, 100)]),
        ("<box>[[750, 1000, 250, 500]]</box>", [(50, 50, 150, 100)]),
        ("<box>[[-50, 0, 1200, 500]]</box>", [(0, 0, 200, 50)]),
        ("<box>[[100, 100, 100, 300]]</box>", []),
        ("<box>[[1100, 0, 1200, 500]]</box>", []),
        ("<box>the dog</box> [1, 2, 3]", []),
        ("There is none.", []),
    ],
)
def test_boxes_in_thousandths(text, boxes):
    """Corners in either order, cut off at the border; what has no area is no box."""
    assert read_boxes(text, TALL) == [pytest.approx(box) for box in boxes]


def test_boxes_in_pixels_of_what_the_model_saw():
    """200 x 100 pixels were shown as 140 x 56: 14 across are 20, 14 down are 25. Tags are thousandths anyway."""
    text = '[{"bbox_2d": [14, 14, 70, 28]}, {"bbox_2d": [0, 0, 140, 56]}]'
    assert read_boxes(text, TALL, (56, 140)) == [(20, 25, 100, 50), (0, 0, 200, 100)]
    assert read_boxes("<box>[[250, 500, 750, 1000]]</box>", TALL, (56, 140)) == [(50, 50, 150, 100)]


def questions(name, root):
    plan = Run(open_benchmark(name), root, root / "out").plan()
    return [question for _, found in plan.all_questions() for question in found]


class Speaker:
    """A model that answers every text with given words and hears what else it is asked."""

    def __init__(self, model, processor, text):
        self.model, self.processor, self.text, self.heard = model, processor, text, []

    def generate(self, **inputs):
        self.heard.append(inputs)
        if "input_ids" in inputs:
            ids = self.processor.tokenizer(self.text, return_tensors="pt", add_special_tokens=False).input_ids
            return SimpleNamespace(sequences=ids)
        return self.model.generate(**inputs)


@pytest.fixture(scope="module")
def sam(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sam")
    published.write_sam_folder(folder)
    return folder


@pytest.mark.parametrize(
    ("write", "family", "text"),
    [
        (published.write_internvl, "qwen2", "<box>[[250, 250, 750, 750]]</box><|im_end|>[[0, 0, 9, 9]]"),
        (published.write_transformers, "qwen2_5_vl", '[{{"bbox_2d": [{0}, {1}, {2}, {3}]}}]'),
        (published.write_transformers, "qwen3_vl", '[{"bbox_2d": [250, 250, 750, 750]}]'),
    ],
)
def test_words_become_the_masks_of_their_boxes(write, family, text, sam, tmp_path):
    """Each family's own notation of the middle of the picture; the mask is that of SAM-2 for this very box.

    Guards Qwen2.5-VL's pixels, which are those of the picture as it was shown, and tags, which result texts leave out.
    """
    write(tmp_path / "mllm", family)
    model, processor = desa2va.load(tmp_path / "mllm", sam2=sam, device="cpu")
    root = write_refcoco(tmp_path / "data", {9: [(1, 1, ["the box"])]})
    (question,) = questions("refcoco-unc-val", root)
    if family == "qwen2_5_vl":
        shown = processor(images=question.record.paths[0], text="what?")
        _, rows, columns = (shown["image_grid_thw"][0] * processor.image_processor.patch_size).tolist()
        assert (rows, columns) != SIZE
        text = text.format(columns / 4, rows / 4, columns * 3 / 4, rows * 3 / 4)
    speaker = Speaker(model, processor, text)
    (answer,) = BoxCascade(speaker, processor)([question])
    height, width = SIZE
    box = (width / 4, height / 4, width * 3 / 4, height * 3 / 4)
    inputs = processor(images=question.record.paths[0], boxes=[box])
    (expected,) = processor.post_process(model.generate(**inputs), inputs)
    assert "the box" in speaker.heard[0]["texts"][0]
    assert np.array_equal(speaker.heard[1]["prompt_boxes"], inputs["prompt_boxes"])
    assert answer.text == text.partition("<|im_end|>")[0]
    assert (answer.status, len(answer.objects)) == (expected.status, 1)
    mask = answer.mask(question)[0] if answer.status == "ok" else np.zeros(SIZE, bool)
    assert np.array_equal(mask, expected.objects[0].mask())


def test_of_a_video_the_middle_frame_is_seen_and_prompted(tmp_path, shipped):
    model, processor = shipped
    frames = np.full((5, *SIZE, 3), 90, np.uint8)
    said = {"0": {"exp": "it", "obj_id": [0], "anno_id": [7]}}
    masks = {7: np.stack([box_mask(4, 4, 24, 24)] * 5)}
    write_clips(tmp_path / "video_datas/mevis/valid_u", {"v": (frames, said)}, masks=masks)
    (question,) = questions("mevis-valid_u", tmp_path)
    speaker = Speaker(model, processor, "no")
    (answer,) = BoxCascade(speaker, processor)([question])
    assert speaker.heard[0]["visuals"][0].key_frames == [2]
    assert (answer.status, answer.reason, answer.objects) == ("no_seg_token", "the answer names no box", ())


def test_a_pair_runs_by_the_command_line(sam, tmp_path):
    """Random weights name no box; every sample is answered all the same."""
    published.write_internvl(tmp_path / "mllm")
    root = write_refcoco(tmp_path / "data", {9: [(1, 1, ["the box"]), (2, 2, ["it"])]})
    words = ["--model", str(tmp_path / "mllm"), "--sam2", str(sam), "--device", "cpu", "--data", str(root)]
    assert main(["refcoco-unc-val", *words, "--baseline", "cascade", "--out", str(tmp_path / "out")]) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    provenance = report["provenance"]
    assert report["statuses"] == {"no_seg_token": 2}
    assert provenance["model"]["baseline"] == "cascade"
    assert (provenance["model"]["sam2_sha256"], provenance["machine"]["sam2"]) == (sam2_sha256(sam), str(sam))
    again = open_benchmark("refcoco-unc-val"), root, tmp_path / "out"
    run, plan, _ = finished_run(Run(*again))
    with pytest.raises(ValueError, match="model.sam2_sha256 is .*choose another folder"):
        AnswerFolder(run.folder, run.identity(plan, {**provenance["model"], "sam2_sha256": "0" * 64}))
