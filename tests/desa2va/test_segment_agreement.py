"""One request through `generate`, `stream`, a session and the command line: every number is the same everywhere."""

import json

import numpy as np
import pytest
from PIL import Image

from desa2va.cli import main
from desa2va.commands import segment
from desa2va.modeling_desa2va.session.session import DeSa2VASession
from desa2va.processing.results.frame_collection import collect_frames
from desa2va.processing.results.frame_records import read_frame_results
from desa2va.processing.results.results import SegmentationResult

REQUEST = "the red circle"
# Name -> configuration, and the status it leads to.
CASES = {
    "usual": ({}, "ok"),
    "absent": ({"object_score_threshold": 1000.0}, "no_target"),
    "low": ({"object_score_threshold": -5.0, "mask_threshold": 0.4}, "ok"),
    "blank": ({"object_score_threshold": -1000.0, "mask_threshold": 1000.0}, "empty_mask"),
    "memory": ({"track_strategy": "memory"}, "ok"),
}


@pytest.fixture
def folder(tmp_path):
    """Builds a folder of pictures."""

    def make(length):
        path = tmp_path / "frames"
        path.mkdir()
        for number, pixels in enumerate(np.random.default_rng(0).integers(0, 255, (length, 40, 64, 3), np.uint8)):
            Image.fromarray(pixels).save(path / f"{number:05d}.png")
        return path

    return make


def generated(model, processor, path):
    inputs = processor(videos=str(path), text=REQUEST, task="segment")
    return processor.post_process(model.generate(**inputs, max_new_tokens=8), inputs)[0]


def streamed(model, processor, path):
    stream = model.stream(str(path), REQUEST, processor, max_new_tokens=8)
    return collect_frames(stream, stream.answers, stream.source)[0]


def commanded(model, processor, path, monkeypatch):
    monkeypatch.setattr(segment, "load_model", lambda args: (model, processor))
    out = path.parent / "out"
    assert main(["segment", str(path), REQUEST, "--out", str(out), "--max-new-tokens", "8"]) == 0
    return out


@pytest.mark.parametrize("length", [1, 4])
@pytest.mark.parametrize("case", CASES)
def test_every_way_gives_the_same_numbers(make_model, processor, folder, monkeypatch, case, length):
    """Thresholds, rounding, spans, scores and statuses each differed between two of the four."""
    fields, status = CASES[case]
    model, path = make_model(3, **fields), folder(length)
    whole, stream = generated(model, processor, path), streamed(model, processor, path)
    assert whole.status == status
    assert stream.to_dict() == whole.to_dict()
    out = commanded(model, processor, path, monkeypatch)
    read = SegmentationResult.from_json(out / "result.json")
    assert {**read.to_dict(), "name": ""} == {**whole.to_dict(), "name": ""}
    check_files(out, whole)
    check_session(model, processor, path, whole)


def check_files(out, whole):
    """PNG, COCO, records and answers of a folder say what the result says."""
    coco = json.loads((out / "coco.json").read_text())
    key = lambda entry: (entry["track_id"], entry["image_id"])  # noqa: E731
    expected = whole.to_coco()
    assert coco["info"] == expected["info"] == whole.to_dict()["options"]
    assert [{**entry, "id": 0} for entry in sorted(coco["annotations"], key=key)] == [
        {**entry, "id": 0} for entry in sorted(expected["annotations"], key=key)
    ]
    assert [category["name"] for category in coco["categories"]] == [REQUEST]
    answer = json.loads((out / "answers.json").read_text())[0]
    assert answer["request"] == whole.request == REQUEST
    assert (answer["status"], answer["reason"], answer["forced"]) == (whole.status, whole.reason, whole.forced)
    (entry,) = whole.objects
    frames = {result.frame: result for result in read_frame_results(out / "frames.jsonl")}
    for t in range(whole.num_frames):
        (found,) = frames[t].objects
        assert (found.code, found.area, found.box) == (entry.codes[t], entry.areas[t], entry.boxes[t])
        assert (found.iou_score, found.object_score) == (entry.iou_scores[t], entry.object_scores[t])
        assert (found.status == "ok") == bool(entry.areas[t]) == entry.mask(t).any()
        assert entry.mask(t).shape == (40, 64)
        assert (np.asarray(Image.open(out / "masks" / f"{t:05d}.png")) > 0).sum() == entry.areas[t]


def check_session(model, processor, path, whole):
    """A session's results; strategy `memory` is not its own, and an object without a mask does not start one."""
    if whole.options.two_step_resize:
        return
    monkey = pytest.MonkeyPatch()
    monkey.setattr("desa2va.modeling_desa2va.session.words.MAX_NEW_TOKENS", 8)
    with monkey.context(), DeSa2VASession(model, processor, str(path)) as session:
        if not session.add(text=REQUEST):
            assert session.last_answer.status == whole.status != "ok"
            return
        list(session.propagate())
        result = session.results()
    (ours,), (theirs,) = result.objects, whole.objects
    assert (result.status, result.reason, result.options) == (whole.status, whole.reason, whole.options)
    for name in ("codes", "status", "reason", "forced", "phrase"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert ours.seg_probability == pytest.approx(theirs.seg_probability)
    assert ours.iou_scores == pytest.approx(theirs.iou_scores, abs=1e-6)
    assert ours.object_scores == pytest.approx(theirs.object_scores, abs=1e-6)
