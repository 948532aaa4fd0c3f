import json
import os
from dataclasses import replace

import numpy as np
import pytest

from desa2va.processing.files.export import result_to_coco
from desa2va.processing.files.mask_codec import encode_mask
from desa2va.processing.files.video_writer import VideoWriter
from desa2va.processing.inputs.video_io import MemorySource, open_visual
from desa2va.processing.results.answer_text import ParsedAnswer
from desa2va.processing.results.frame_collection import collect_frames
from desa2va.processing.results.frame_export import (
    GrowingOverlay,
    summarise,
    write_coco,
    write_frame_png,
    write_result,
)
from desa2va.processing.results.frame_records import FrameRecords, read_frame_results
from desa2va.processing.results.frame_results import FrameObject, FrameResult
from desa2va.processing.results.results import SegmentationResult

SIZE = (10, 14)


def frame(number, *areas, score=0.75, status=None):
    """A result with one object per entry: its first `area` rows are its mask; `None` leaves it out."""
    objects = []
    for place, area in enumerate(areas):
        if area is None:
            continue
        mask = np.zeros(SIZE, dtype=bool)
        mask[:area, 2:8] = True
        state = status or ("ok" if area else "no_target")
        objects.append(FrameObject(place, encode_mask(mask), 0.5, score, state, f"thing {place}", request=place))
    return FrameResult(number, number / 4, *SIZE, objects)


@pytest.fixture
def clip():
    return MemorySource(np.full((3, *SIZE, 3), 60, np.uint8), "clip", fps=4.0)


@pytest.fixture
def records(tmp_path):
    """Three frames that arrive as the tracker walks: forwards from the second, then backwards."""
    with FrameRecords(tmp_path / "frames.jsonl") as records:
        for result in (frame(1, 2, 0, score=0.8), frame(2, 4, 0, score=0.3), frame(0, 0, 0, score=0.2)):
            records.append(result)
        yield records


def test_frames_come_back_in_order(records):
    """Frames of the backward walk arrive last but belong first."""
    assert [result.frame for result in records] == [0, 1, 2]
    assert records.read(2).to_dict() == frame(2, 4, 0, score=0.3).to_dict()
    assert len(records) == 3
    assert 1 in records
    assert 3 not in records
    assert [result.frame for result in read_frame_results(records.path)] == [1, 2, 0]
    with pytest.raises(ValueError, match="frame 1 is there already"):
        records.append(frame(1, 1))


def test_summaries_say_what_became_of_each_request(records):
    """Counted per frame in any order, statuses and reasons must be those of the whole video."""
    found, absent = summarise(records, [ParsedAnswer("it"), ParsedAnswer("none")])
    assert (found.status, found.reason, found.text) == ("ok", "", "it")
    (entry,) = found.objects
    assert (entry.num_frames, entry.largest_frame, entry.largest.area) == (2, 2, 24)
    assert absent.status == "no_target"
    assert (
        "object 1: the object is judged absent on every frame (highest object score 1.39 on frame 1" in absent.reason
    )


def test_summaries_give_the_reasons_of_whole_results(records, clip):
    """Answers in words were told as a failure, and numbers that the masks contradict were not told at all."""
    answers = [
        ParsedAnswer("There are two circles.", request="all circles"),
        ParsedAnswer("red", request="What color is it?", task="chat"),
        ParsedAnswer("No.", request="the ring"),
    ]
    kept = [replace(result, objects=[one for one in result.objects if not one.request]) for result in records]
    path = records.path.with_name("kept.jsonl")
    with FrameRecords(path) as again:
        for result in kept:
            again.append(result)
        summaries = summarise(again, answers)
    for found in (summaries, collect_frames(kept, answers, clip)):
        assert [entry.request for entry in found] == ["all circles", "What color is it?", "the ring"]
        assert [entry.reason for entry in found] == [
            "the text says 'There are two', but the masks are 1",
            "task='chat' is answered in words alone and marks nothing",
            "the answer holds no [SEG]; the model marked no object",
        ]


@pytest.mark.parametrize("partial", [False, True])
def test_a_failing_write_leaves_whole_lines(records, monkeypatch, partial):
    """On a full disk half a line would make the whole file unreadable."""
    real = records._file

    class Full:
        def __getattr__(self, name):
            return getattr(real, name)

        def write(self, data):
            if partial and len(data) > 20:
                return real.write(data[:20])
            raise OSError(28, "No space left on device")

    records._file = Full()
    with pytest.raises(OSError, match="No space left"):
        records.append(frame(3, 1, 1))
    records._file = real
    assert [result.frame for result in read_frame_results(records.path)] == [1, 2, 0]
    records.append(frame(3, 1, 1))
    assert records.read(3).objects[0].area == 6


def test_a_broken_line_is_named(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(frame(0, 1).to_dict()) + '\n{"frame": 1, "obj', encoding="utf-8")
    with pytest.raises(ValueError, match="a.jsonl: line 2 is no frame result"):
        list(read_frame_results(path))


def test_files_equal_those_of_a_whole_result(records, clip, tmp_path):
    """Written frame by frame or at once: the same result, the same COCO annotations."""
    whole = collect_frames(records, [ParsedAnswer("a", "a"), ParsedAnswer("b", "b")], clip)
    merged = whole[0]
    whole[1].objects[0].object_id = 1
    merged.objects.append(whole[1].objects[0])
    merged.text, merged.raw_text = "a\nb", "a\nb"
    head = {name: value for name, value in merged.to_dict().items() if name != "objects"}
    write_result(records, tmp_path / "result.json", head)
    assert SegmentationResult.from_json(tmp_path / "result.json").to_dict() == merged.to_dict()
    spans = [(0, 1), None]
    write_result(records, tmp_path / "spans.json", head, spans)
    assert [entry.span for entry in SegmentationResult.from_json(tmp_path / "spans.json").objects] == spans
    write_coco(records, tmp_path / "coco.json")
    expected = result_to_coco(merged)
    written = json.loads((tmp_path / "coco.json").read_text())
    assert written["images"] == expected["images"]
    assert written["categories"] == expected["categories"]
    assert written["annotations"] == expected["annotations"]
    for result in records:
        write_frame_png(result, tmp_path)
    merged.save_png(tmp_path / "whole")
    for number in range(3):
        name = f"{number:05d}.png"
        assert (tmp_path / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_an_object_that_comes_late_is_absent_before(tmp_path):
    """Its lists must have one entry per frame, or its masks slide to the wrong frames."""
    with FrameRecords(tmp_path / "f.jsonl") as records:
        for result in (frame(0, 1), frame(1, 1, 3)):
            records.append(result)
        head = {"text": "", "raw_text": "", "status": "ok", "reason": "", "num_frames": 2, "height": 10, "width": 14}
        write_result(records, tmp_path / "r.json", head)
    late = SegmentationResult.from_json(tmp_path / "r.json").objects[1]
    assert (late.areas, late.object_scores) == ([0, 18], [0.0, 0.75])


@pytest.mark.parametrize(("order", "left"), [([], 3), ([0, 1, 2], 0), ([0, 2, 1], 1), ([2, 1, 0], 2)])
def test_overlay_shows_every_frame_once_in_order(records, clip, tmp_path, order, left):
    """Frames drawn while they are found are not read again; a walk may begin in the middle and come back."""
    again = []
    with GrowingOverlay(tmp_path / "a.mp4", clip) as overlay:
        for number in order:
            overlay.add(replace(records.read(number), image=clip.read([number])[0]))
        overlay.finish(records, lambda frames, total: again.append(total) or frames)
    assert again == [left] * (left > 0)
    drawn = list(open_visual(tmp_path / "a.mp4").iterate())
    assert len(drawn) == 3
    assert np.abs(drawn[0].astype(int) - 60).mean() < 3
    assert np.abs(drawn[2].astype(int) - 60).mean() > 10
    with VideoWriter(tmp_path / "whole.mp4", 4.0) as writer:
        for result in records:
            writer.write(result.plot(clip.read([result.frame])[0]))
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()


def test_frames_without_their_picture_are_drawn_afterwards(records, clip, tmp_path):
    with GrowingOverlay(tmp_path / "a.mp4", clip) as overlay:
        overlay.add(records.read(0))
        assert overlay.num_frames == 0
        overlay.finish(records, lambda frames, total: frames)
    assert len(open_visual(tmp_path / "a.mp4")) == 3


def test_memory_holds_places_not_masks(tmp_path):
    """Kept in memory, the masks of a long video would fill it."""
    import gc
    import tracemalloc

    result = frame(0, 1, 2)
    with FrameRecords(tmp_path / "f.jsonl") as records:
        tracemalloc.start()
        for number in range(2000):
            result.frame = number
            records.append(result)
        gc.collect()
        used = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
    assert os.path.getsize(tmp_path / "f.jsonl") > 1_000_000 > 10 * used


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("frame", -1, "no frame"),
        ("frame", True, "frame must be int, got bool"),
        ("timestamp", float("nan"), "NaN is no number"),
        ("height", 10**400, "too large|not valid JSON"),
        ("objects", None, "list of objects"),
        ("objects", [3], r"objects\[0\] must be an object"),
        ("image", [[0]], "unknown fields image"),
    ],
)
def test_wrong_fields_are_named(tmp_path, field, value, message):
    """A crafted line was accepted, or stopped the reader with another kind of error each time."""
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({**frame(0, 1).to_dict(), field: value}) + "\n")
    with pytest.raises(ValueError, match=f"a.jsonl: line 1 is no frame result: .*({message})"):
        list(read_frame_results(path))


def test_a_frame_that_comes_twice_is_named(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(2 * (json.dumps(frame(3, 1).to_dict()) + "\n"))
    with pytest.raises(ValueError, match="a.jsonl: line 2: frame 3 comes twice"):
        list(read_frame_results(path))
    with pytest.raises(FileNotFoundError, match="no file .*none.jsonl"):
        list(read_frame_results(tmp_path / "none.jsonl"))
