import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from desa2va.processing.files.mask_cleanup import MaskOptions
from desa2va.processing.results.results import SegmentationResult


def blob(rows, columns, num_frames=1):
    """Low-resolution logits (T, 8, 8): +4 inside, -4 outside."""
    logits = torch.full((num_frames, 8, 8), -4.0)
    logits[:, rows, columns] = 4.0
    return logits


def outputs_for(processor, answers, owners, logits, scores, **branches):
    """Outputs as `DeSa2VAModel.generate` gives them."""
    encoder = processor.assembler.encoder
    rows = [[*encoder.answer(answer), processor.tokenizer.eos_token_id] for answer in answers]
    longest = max(map(len, rows))
    sequences = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    return SimpleNamespace(
        sequences=sequences,
        object_sequence=torch.tensor(owners, dtype=torch.long),
        seg_probability=torch.full((len(owners),), 0.75),
        track_logits=logits,
        track_iou=[torch.full((len(entry),), 0.5) for entry in logits],
        track_object_score=[torch.tensor(score) for score in scores],
        **branches,
    )


@pytest.fixture
def two_texts(tiny, picture):
    return tiny(images=picture, text=["the red circle", "What is it?"])


def test_masks_phrases_and_scores_of_a_picture(tiny, two_texts):
    outputs = outputs_for(
        tiny,
        ["<p> red circle </p> [SEG] and [SEG]", "It is red."],
        [0, 0],
        [blob(slice(0, 4), slice(0, 8)), blob(slice(0, 8), slice(0, 4))],
        [[2.0], [0.0 + 1e-3]],
    )
    first, second = tiny.post_process(outputs, two_texts)
    assert (first.status, first.text, first.width, first.height) == ("ok", "red circle and", 30, 20)
    upper, left = first.objects
    assert (upper.object_id, left.object_id) == (0, 1)
    assert (upper.phrase, upper.span, left.phrase) == ("red circle", (0, 10), "red circle")
    assert upper.boxes == [(0, 0, 30, 10)]
    assert left.boxes == [(0, 0, 15, 20)]
    assert upper.mask().shape == (20, 30)
    assert upper.masks[0, 3].all()
    assert upper.object_scores[0] == pytest.approx(1 / (1 + np.exp(-2)), abs=1e-5)
    assert (upper.iou_scores, upper.seg_probability) == ([0.5], 0.75)
    assert second.status == "no_seg_token"
    assert "no [SEG]" in second.reason
    assert second.objects == []


@pytest.mark.parametrize(
    ("logits", "scores", "status", "reason"),
    [
        (blob(slice(0, 4), slice(0, 4), 3), [1.0, -1.0, 1.0], "ok", ""),
        (blob(slice(0, 4), slice(0, 4), 3), [-3.0, -1.5, -2.0], "no_target", "highest object score -1.50 on frame 1"),
        (blob(slice(0, 0), slice(0, 0), 3), [1.0, 1.0, 1.0], "empty_mask", "no pixel is above the mask threshold 0"),
    ],
)
def test_a_blank_mask_always_has_a_status_and_a_reason(tiny, picture, logits, scores, status, reason):
    batch = tiny(videos=np.stack([picture] * 3), text="the red circle")
    outputs = outputs_for(tiny, ["[SEG]"], [0], [logits], [scores])
    result = tiny.post_process(outputs, batch)[0]
    assert result.status == result.objects[0].status == status
    assert reason in result.objects[0].reason
    assert (result.reason == "") == (status == "ok")


def test_absent_on_one_frame_means_empty_there(tiny, picture):
    """A stale mask on a frame without the object is the classic failure of trackers."""
    batch = tiny(videos=np.stack([picture] * 3), text="the red circle")
    outputs = outputs_for(tiny, ["[SEG]"], [0], [blob(slice(0, 8), slice(0, 8), 3)], [[1.0, -1.0, 1.0]])
    entry = tiny.post_process(outputs, batch)[0].objects[0]
    assert entry.areas == [600, 0, 600]
    assert entry.boxes[1] is None
    raised = tiny.post_process(outputs, batch, object_score_threshold=-2.0)[0].objects[0]
    assert raised.areas == [600, 600, 600]


def test_branches_give_their_disagreement(tiny, picture):
    batch = tiny(images=picture, text="the red circle")
    outputs = outputs_for(
        tiny,
        ["[SEG]"],
        [0],
        [blob(slice(0, 4), slice(0, 8))],
        [[1.0]],
        text_logits=[blob(slice(0, 4), slice(0, 8))],
        visual_logits=[blob(slice(0, 8), slice(0, 8))],
    )
    entry = tiny.post_process(outputs, batch)[0].objects[0]
    assert entry.key_frames == [0]
    assert entry.disagreement == pytest.approx([0.5])


def test_soft_masks_on_request_only(tiny, two_texts):
    outputs = outputs_for(tiny, ["[SEG]", "It"], [0], [blob(slice(0, 4), slice(0, 8))], [[1.0]])
    entry = tiny.post_process(outputs, two_texts, keep_logits=True)[0].objects[0]
    np.testing.assert_array_equal(entry.probabilities() > 0.5, entry.mask())
    with pytest.raises(ValueError, match="keep_logits=True"):
        tiny.post_process(outputs, two_texts)[0].objects[0].probabilities()


def test_json_is_lossless(tiny, two_texts, tmp_path):
    outputs = outputs_for(tiny, ["<p> red circle </p> [SEG] 圆", "It"], [0], [blob(slice(1, 4), slice(2, 7))], [[1.0]])
    result = tiny.post_process(outputs, two_texts)[0]
    result.to_json(tmp_path / "r.json")
    loaded = SegmentationResult.from_json(tmp_path / "r.json")
    assert loaded.to_dict() == result.to_dict()
    np.testing.assert_array_equal(loaded.objects[0].masks, result.objects[0].masks)
    assert loaded.objects[0].span == (0, 10)


HUGE = {"size": [2**20, 2**20], "counts": "0"}


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("height",), -3, "must not be negative"),
        (("height",), 4.0, "height must be int, got float"),
        (("num_frames",), 2, "1, 1, 1 codes"),
        (("num_frames",), 10**18, "too large"),
        (("fps",), 0, "fps not 0"),
        (("text",), None, "text must be str"),
        (("text",), "\ud800", "no Unicode text"),
        (("status",), "fine", "unknown status 'fine'"),
        (("kind",), 1, "unknown fields kind"),
        (("objects",), {}, "list of objects"),
        (("objects", 0), None, r"objects\[0\] must be an object"),
        (("objects", 0, "object_id"), -1, "not unique, or negative"),
        (("objects", 0, "span"), [0, 10**6], "has the span"),
        (("objects", 0, "span"), [0], "must hold 2 values"),
        (("objects", 0, "seg_probability"), 2.0, r"not in \[0, 1\]"),
        (("objects", 0, "seg_probability"), True, "must be float, got bool"),
        (("objects", 0, "object_scores", 0), float("nan"), "NaN is no number"),
        (("objects", 0, "iou_scores"), "0.5", "must be a list"),
        (("objects", 0, "key_frames"), [7], "other numbers of key frames"),
        (("objects", 0, "codes", 0), HUGE, "which is refused"),
        (("objects", 0, "codes", 0), {"size": [1, 1], "counts": "01"}, r"a mask of \[1, 1\]"),
        (("objects", 0, "codes", 0, "counts"), "12", "add up to 3"),
    ],
)
def test_a_crafted_result_is_one_error_that_names_the_field(tiny, two_texts, tmp_path, place, value, message):
    """Wrong types were a KeyError, a TypeError or nothing at all; a mask that fills no picture read foreign memory."""
    outputs = outputs_for(tiny, ["<p> red circle </p> [SEG]", "It"], [0], [blob(slice(1, 4), slice(2, 7))], [[1.0]])
    data = tiny.post_process(outputs, two_texts)[0].to_dict()
    inner = data
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    (tmp_path / "r.json").write_text(json.dumps(data))
    with pytest.raises(ValueError, match=f"r.json.*({message})"):
        SegmentationResult.from_json(tmp_path / "r.json")


@pytest.mark.parametrize("text", ["", "[" * 100_000, "{", "[1, 2]", "null", '{"objects": []}', "é".encode("latin-1")])
def test_files_that_hold_no_result_are_named(tmp_path, text):
    """A deeply nested file was a RecursionError, an empty one a JSONDecodeError that named no file."""
    (tmp_path / "r.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match="r.json"):
        SegmentationResult.from_json(tmp_path / "r.json")
    with pytest.raises(FileNotFoundError, match="no file .*none.json"):
        SegmentationResult.from_json(tmp_path / "none.json")


def test_what_was_asked_for_names_objects_without_a_phrase(tiny, picture, tmp_path):
    """A plain answer marks no phrase, and every format of Python's called its objects `object`."""
    batch = tiny(images=picture, text=["Please find the red circle.", "the ring"], task="segment")
    outputs = outputs_for(
        tiny,
        ["Sure, it is [SEG].", "<p> a ring </p> [SEG]."],
        [0, 1],
        [blob(slice(0, 4), slice(0, 8)), blob(slice(0, 8), slice(0, 4))],
        [[1.0], [1.0]],
    )
    plain, marked = tiny.post_process(outputs, batch)
    assert [plain.request, marked.request] == ["Please find the red circle.", "the ring"]
    assert (plain.objects[0].phrase, plain.objects[0].span) == ("the red circle", None)
    assert (marked.objects[0].phrase, marked.objects[0].span) == ("a ring", (0, 6))
    plain.save_yolo(tmp_path / "yolo")
    assert "the red circle" in (tmp_path / "yolo" / "data.yaml").read_text()
    assert [entry["name"] for entry in plain.to_coco()["categories"]] == ["the red circle"]
    (region,) = plain.to_label_studio()[0]["predictions"][0]["result"]
    assert region["value"]["brushlabels"] == ["the red circle"]
    plain.to_json(tmp_path / "result.json")
    assert SegmentationResult.from_json(tmp_path / "result.json").to_dict() == plain.to_dict()
    older = {name: value for name, value in plain.to_dict().items() if name != "request"}
    older["objects"][0]["phrase"] = None
    read = SegmentationResult.from_dict(older)
    assert (read.request, read.objects[0].phrase) == ("", None)


def test_a_description_that_marks_without_a_phrase_is_not_named_by_its_instruction(tiny, picture):
    batch = tiny(images=picture, task="gcg")
    outputs = outputs_for(tiny, ["[SEG]"], [0], [blob(slice(0, 4), slice(0, 8))], [[1.0]])
    (result,) = tiny.post_process(outputs, batch)
    assert (result.request, result.objects[0].phrase) == (tiny.gcg_instruction, None)


def test_prompts_alone_have_results_without_text(tiny, picture):
    batch = tiny(images=[picture, picture], boxes=[[1, 1, 9, 9], None])
    outputs = outputs_for(tiny, ["[SEG]"], [0], [blob(slice(0, 4), slice(0, 8))], [[1.0]])
    outputs.sequences = torch.zeros(2, 0, dtype=torch.long)  # as `generate` gives them
    result, unmarked = tiny.post_process(outputs, batch)
    assert (result.status, result.text, result.objects[0].phrase) == ("ok", "", "region 1")
    assert result.request == "what is marked"
    assert unmarked.reason == "no point, box or mask marks an object here"


def test_outputs_of_another_batch_are_refused(tiny, two_texts):
    outputs = outputs_for(tiny, ["[SEG]"], [0], [blob(slice(0, 4), slice(0, 8))], [[1.0]])
    with pytest.raises(ValueError, match="1 sequences, inputs 2"):
        tiny.post_process(outputs, two_texts)
    outputs = outputs_for(tiny, ["[SEG]", "It"], [0], [blob(slice(0, 4), slice(0, 8), 3)], [[1.0] * 3])
    with pytest.raises(ValueError, match="masks of 3 frames"):
        tiny.post_process(outputs, two_texts)


def test_clean_up_reaches_the_masks_of_all_requests(tiny, two_texts):
    """Objects of two requests about one picture share its pixels; `non_overlapping` must look at both."""
    logits = [blob(slice(0, 8), slice(0, 8)), 2 * blob(slice(0, 4), slice(0, 8))]
    outputs = outputs_for(tiny, ["[SEG]", "[SEG]"], [0, 1], logits, [[1.0], [1.0]])
    lower, upper = (result.objects[0] for result in tiny.post_process(outputs, two_texts, non_overlapping=True))
    # The upper half's logits fall from 8 to -8 over its border: on its last row the other object's 4 is higher.
    assert (upper.areas, lower.areas) == ([270], [330])
    assert not (lower.mask() & upper.mask()).any()
    both = [result.objects[0].areas for result in tiny.post_process(outputs, two_texts)]
    assert both[0] == [600]


def test_logits_at_source_size(tiny, two_texts):
    """Soft masks and logits are the same numbers at the same place."""
    outputs = outputs_for(tiny, ["[SEG]", "It"], [0], [blob(slice(0, 4), slice(0, 8))], [[1.0]])
    entry = tiny.post_process(outputs, two_texts, keep_logits=True)[0].objects[0]
    logits = entry.source_logits()
    assert (logits.shape, logits.dtype) == ((20, 30), np.float32)
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), entry.probabilities(), atol=1e-6)


def test_thresholds_travel_with_the_outputs(tiny, two_texts, tmp_path):
    """Without a model at hand `post_process` knows no configuration but the one its outputs carry."""
    answers, logits = ["It is [SEG].", "No."], [blob(slice(0, 4), slice(0, 8))]
    made = MaskOptions(3.0, -5.0, empty_absent=True, two_step_resize=False, target_threshold=0.0)
    outputs = outputs_for(tiny, answers, [0], logits, [[-0.44]], mask_options=made)
    result = tiny.post_process(outputs, two_texts)[0]
    assert (result.status, result.options) == ("ok", made)
    result.to_json(tmp_path / "r.json")
    assert SegmentationResult.from_json(tmp_path / "r.json").options == made
    absent = tiny.post_process(outputs, two_texts, object_score_threshold=0.0)[0]
    assert absent.status == "no_target"
    assert "highest object score -0.44 on frame 0, threshold 0; logits" in absent.reason
    assert absent.options.mask_threshold == 3.0
    outputs.track_logits[0][0, 0, 0] = float("nan")
    with pytest.raises(ValueError, match="object 0 of .*: the mask is not a number"):
        tiny.post_process(outputs, two_texts)


def test_a_frame_by_itself_is_what_a_stream_hands_over(clip):
    """Masks, scores and statuses of each frame, with its time."""
    for t, frame in enumerate(clip.frames()):
        assert (frame.frame, frame.timestamp, frame.options) == (t, t / 8.0, clip.options)
        assert [entry.status for entry in frame.objects] == [
            "ok" if entry.areas[t] else "no_target" for entry in clip.objects
        ]
        np.testing.assert_array_equal(frame.to_numpy(), [entry.mask(t) for entry in clip.objects])
        np.testing.assert_array_equal(clip.to_numpy(t), frame.to_numpy())
        assert [len(entry.xy) for entry in frame.objects] == [len(entry.xy[t]) for entry in clip.objects]
    for t in (3, -1):
        with pytest.raises(IndexError, match=f"frame {t} does not exist; clip has 3 frames"):
            clip.frame(t)


def test_plot_draws_on_the_frame_asked_for(clip):
    picture = clip.source.read([2])[0]
    drawn = clip.plot(2)
    assert (drawn.shape, drawn.dtype) == ((10, 15, 3), np.uint8)
    assert (drawn != picture)[clip.objects[0].mask(2)].any(axis=1).all()
    black = np.zeros_like(picture)
    assert (clip.plot(2, black) == clip.frame(2).plot(black)).all()
    clip.source = None
    with pytest.raises(ValueError, match="frame 0 holds no picture"):
        clip.plot()


def test_an_empty_result_has_masks_of_the_size_of_the_source_and_its_overlay_is_the_source(make_result, tmp_path):
    """Nothing found, and an object that is on no frame: shapes stay, pictures stay, files have their frames."""
    for count in (0, 1):
        result = make_result(np.zeros((count, 2, 10, 15), bool))
        for t in range(2):
            assert result.to_numpy(t).shape == (count, 10, 15)
            assert not result.to_numpy(t).any()
            np.testing.assert_array_equal(result.plot(t), result.source.read([t])[0])
            assert result.to_yolo(t) == []
        assert [task["predictions"][0]["result"] for task in result.to_label_studio()] == [[], []]
        assert len(result.save_yolo(tmp_path / f"yolo{count}")) == len(result.save_png(tmp_path / f"png{count}")) == 2
        assert len(result.to_coco()["images"]) == 2
