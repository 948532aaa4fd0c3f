"""`desa2va segment` on a video: what is finished survives, options arrive; a stand-in takes the model's place."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from desa2va.cli import main
from desa2va.commands import segment
from desa2va.commands.frames import FirstFrames
from desa2va.processing.files.mask_cleanup import MaskOptions
from desa2va.processing.files.mask_codec import encode_mask
from desa2va.processing.inputs.video_io import open_visual
from desa2va.processing.results.answer_text import ParsedAnswer
from desa2va.processing.results.frame_records import FrameRecords, read_frame_results
from desa2va.processing.results.frame_results import FrameObject, FrameResult
from desa2va.processing.results.results import SegmentationResult


class Stream:
    """Frames in walking order: forwards from the second, then back; `error` is raised in place of frame 3."""

    def __init__(self, video, requests, error):
        self.answers = [ParsedAnswer(f"{request}: it is.", "[SEG]", request=request) for request in requests]
        self.frames = self.walk(video, error)
        self.closed = False

    def walk(self, video, error):
        for number in (1, 2, 3, 0):
            if number == 3 and error is not None:
                raise error
            mask = np.zeros((video.height, video.width), dtype=bool)
            mask[4:20, 4 + number : 20 + number] = True
            here = [
                FrameObject(0, encode_mask(mask), 0.9, 0.8, phrase=self.answers[0].phrase(0)),
                FrameObject(1, encode_mask(~mask), 0.5, 0.7, phrase=self.answers[1].phrase(0), request=1),
            ]
            yield FrameResult(number, float(number), video.height, video.width, here)

    def __iter__(self):
        return self.frames

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.closed = True


@pytest.fixture
def run(monkeypatch, frames, tmp_path):
    """Runs the command on four frames; returns exit code, target folder, and what the model was asked."""
    asked = SimpleNamespace()

    def call(*words, error=None):
        def stream(video, requests, processor, **settings):
            asked.settings, asked.stream = settings, Stream(video, requests, error)
            return asked.stream

        monkeypatch.setattr(segment, "load_model", lambda args: (SimpleNamespace(stream=stream), None))
        out = tmp_path / "out"
        return main(["segment", str(frames), "the square", "the rest", "--out", str(out), *words]), out, asked

    return call


def test_frames_that_arrive_backwards_lie_in_order(run, capsys):
    """The backward walk comes last; files and overlay must follow the video all the same."""
    code, out, asked = run()
    assert code == 0
    assert asked.stream.closed
    assert [result.frame for result in read_frame_results(out / "frames.jsonl")] == [1, 2, 3, 0]
    result = SegmentationResult.from_json(out / "result.json")
    assert [box[0] for box in result.objects[0].boxes] == [4, 5, 6, 7]
    assert [entry.phrase for entry in result.objects] == ["the square", "the rest"]
    assert result.text == "the square: it is.\nthe rest: it is."
    overlay = open_visual(out / "overlay.mp4")
    assert len(overlay) == 4
    answers = json.loads((out / "answers.json").read_text())
    assert [(answer["objects"], answer["status"]) for answer in answers] == [([0], "ok"), ([1], "ok")]
    printed = capsys.readouterr().out
    assert "object 0: 4 of 4 frames, at most 256 pixels" in printed
    assert np.asarray(Image.open(out / "masks" / "00002.png"))[10, 10] == 1


@pytest.mark.parametrize(
    ("error", "code"), [(ValueError("frame 3 can not be read"), 2), (OSError(28, "No space left"), 2), (None, 130)]
)
def test_what_is_finished_survives_an_error(run, capsys, error, code):
    """An hour of results must not go with the frame that failed; nor may half a result look like a whole one."""
    got, out, _ = run(error=error or KeyboardInterrupt())
    assert got == code
    assert not out.exists()
    partial = out.with_name("out.partial")
    assert sorted(path.name for path in partial.iterdir()) == ["frames.jsonl", "masks"]
    assert sorted(path.name for path in (partial / "masks").iterdir()) == ["00001.png", "00002.png"]
    assert [result.frame for result in read_frame_results(partial / "frames.jsonl")] == [1, 2]
    assert f"2 finished frames are kept in {partial}" in capsys.readouterr().err
    run(error=error or KeyboardInterrupt())
    assert out.with_name("out.partial-2").is_dir()


def test_a_disk_that_fills_up_at_the_end_keeps_all_frames(run, monkeypatch):
    """The files made last are the largest; the frames are done by then."""
    monkeypatch.setattr(FrameRecords, "read", lambda self, frame: (_ for _ in ()).throw(OSError(28, "No space left")))
    code, out, _ = run()
    assert code == 2
    assert len(list(read_frame_results(out.with_name("out.partial") / "frames.jsonl"))) == 4


def test_an_error_before_the_first_frame_leaves_nothing(run, monkeypatch, tmp_path):
    """A folder of nothing, called partial, would only be litter."""
    monkeypatch.setattr(Stream, "walk", lambda self, video, error: (_ for _ in ()).throw(ValueError("no")))
    assert run()[0] == 2
    assert list(tmp_path.iterdir()) == []


def test_options_reach_the_model(run):
    """An option that does not arrive changes results silently."""
    words = ["--key-frames", "0,3", "--num-key-frames", "2", "--strategy", "memory", "--max-new-tokens", "7"]
    code, _, asked = run(*words, "--no-overlap", "--fill-holes", "5", "--remove-specks", "6", "--task", "auto")
    assert code == 0
    assert asked.settings == {
        "task": "auto",
        "key_frames": [0, 3],
        "num_key_frames": 2,
        "strategy": "memory",
        "max_new_tokens": 7,
        "options": MaskOptions(non_overlapping=True, max_hole_area=5, max_speckle_area=6),
        "keep_images": True,
        "verify": False,
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--key-frames", "uniform"], "--key-frames is for videos"),
        (["--max-frames", "3"], "--max-frames is for videos"),
        (["--strategy", "memory"], "--strategy is for videos"),
        (["--fill-holes", "-1"], "--fill-holes: '-1' is no whole number"),
        (["--num-key-frames", "0"], "--num-key-frames: '0' is no whole number"),
    ],
)
def test_options_that_can_not_be_meant_are_refused(picture, tmp_path, capsys, words, message):
    """Ignored, they would leave the user waiting for an effect."""
    assert main(["segment", str(picture), "it", "--out", str(tmp_path / "out"), *words]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_unknown_key_frames_are_named(picture, capsys):
    for word in ("middle", "0,-1", "0,9999999999", "²"):
        assert main(["segment", str(picture), "it", "--key-frames", word]) == 2
        expected = f"'{word}' is unknown; known are first, uniform, auto, all, or frame numbers"
        assert expected in capsys.readouterr().err


def test_key_frames_are_decoded_once_for_model_and_overlay(frames):
    """The overlay needs the pictures that the language model saw; reading them again is a seek and a decoding each."""
    asked = []

    class Counting(FirstFrames):
        def read(self, indices):
            asked.append(list(indices))
            return super().read(indices)

    video = FirstFrames(Counting(open_visual(str(frames))), 3)
    first = video.read([0, 2])
    again = video.read([2])
    assert again[0] is first[1]
    assert asked == [[0, 2]]
    video.read([2])
    assert asked == [[0, 2], [2]], "what was read twice is not held any longer"
    video.read([1, 2])
    assert asked == [[0, 2], [2], [1, 2]]
    with pytest.raises(ValueError, match="3"):
        video.read([3])
