"""Every task of docs/tasks.md from the shell: what is marked, described, explained and asked back arrives."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from desa2va.cli import main
from desa2va.commands import chat, segment
from desa2va.processing.results import SegmentationResult


@pytest.fixture
def shell(shipped, monkeypatch, tmp_path, capsys):
    """Runs a command with the shipped model; returns exit code, printed lines and the target folder."""
    monkeypatch.chdir(tmp_path)
    for module in (chat, segment):
        monkeypatch.setattr(module, "load_model", lambda args: shipped)

    def run(*words):
        code = main(list(map(str, words)))
        captured = capsys.readouterr()
        return code, captured.out.splitlines() if code == 0 else captured.err, tmp_path / "square_masks"

    return run


BOXES = ["--box", "20,12,44,30", "--box", "2,2,10,10"]


def test_marked_objects_without_words_are_named_and_drawn(shell, picture, shipped):
    """Points, boxes and masks could not be given from the shell at all."""
    code, printed, out = shell("segment", picture, *BOXES)
    assert code == 0
    assert printed[0] == "'what is marked': [ok]"
    result = SegmentationResult.from_json(out / "result.json")
    assert [entry.phrase for entry in result.objects] == ["region 1", "region 2"]
    model, processor = shipped
    inputs = processor(images=str(picture), boxes=[[20, 12, 44, 30], [2, 2, 10, 10]])
    (expected,) = processor.post_process(model.generate(**inputs), inputs)
    assert [entry.codes for entry in result.objects] == [entry.codes for entry in expected.objects]
    answers = json.loads((out / "answers.json").read_text())
    assert [(answer["request"], answer["objects"]) for answer in answers] == [("what is marked", [0, 1])]


def test_a_palette_png_marks_one_object_per_value(shell, picture, tmp_path):
    """The masks that the command writes are prompts for the next one; elsewhere what is not black is one."""
    code, _, out = shell("segment", picture, "--point", "30,20 2,2,0")
    assert code == 0
    written = np.array(Image.open(out / "masks" / "00000.png"))
    assert set(np.unique(written)) == {0, 1}
    written[40:46, 2:30] = 3
    for mode, count, kind in (("P", 2, "u1"), ("I;16", 2, "u2"), ("L", 1, "u1"), ("RGB", 1, "u1")):
        mask, target = Image.fromarray(written.astype(kind)), mode.replace(";", "")
        if mode == "P":
            mask.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
        mask.convert(mode).save("mask.png")
        code, _, out = shell("segment", picture, "--mask", "mask.png", "--out", target)
        assert code == 0
        assert len(SegmentationResult.from_json(tmp_path / target / "result.json").objects) == count
    Image.fromarray(written * 0).save("black.png")
    assert "--mask black.png marks nothing" in shell("segment", picture, "--mask", "black.png", "--out", "no")[1]


def test_objects_marked_in_a_video_are_followed_without_words(shell, frames, shipped, tmp_path):
    """From the frame on which they are marked, both ways, frame by frame."""
    code, _, _ = shell("segment", frames, "--box", "16,12,32,30", "--key-frames", "1", "--out", "found")
    assert code == 0
    result = SegmentationResult.from_json(tmp_path / "found" / "result.json")
    assert (result.num_frames, [entry.phrase for entry in result.objects]) == (4, ["region 1"])
    model, processor = shipped
    inputs = processor(videos=str(frames), boxes=[16, 12, 32, 30], key_frames=[1])
    (expected,) = processor.post_process(model.generate(**inputs), inputs)
    assert result.objects[0].areas[1] == expected.objects[0].areas[1] > 0


def test_words_and_an_example_reach_the_model_for_both_kinds(shell, picture, frames, shipped, monkeypatch):
    """A box beside words is drawn for the language model, in pictures and in videos."""
    asked, (model, processor) = [], shipped
    spied = type("Spy", (), {"__call__": lambda self, **call: asked.append(call) or processor(**call)})()
    spied.__class__.__getattr__ = lambda self, name: getattr(processor, name)
    monkeypatch.setattr(segment, "load_model", lambda args: (model, spied))
    for source, out in ((picture, "one"), (frames, "two")):
        assert shell("segment", source, "all like this one", "--box", "20,12,44,30", "--out", out)[0] == 0
        assert (asked[-1]["boxes"], asked[-1]["task"]) == ([[20, 12, 44, 30]], "segment")
        assert asked[-1]["text"] == ["all like this one"]


def test_a_grounded_description_needs_no_words(shell, picture, frames, tmp_path):
    for source, out in ((picture, "one"), (frames, "two")):
        code, printed, _ = shell("segment", source, "--task", "gcg", "--max-new-tokens", "40", "--out", out)
        assert code == 0
        (answer,) = json.loads((tmp_path / out / "answers.json").read_text())
        assert printed[0].startswith(f"{answer['request']!r}: ")
        assert "with masks" in answer["request"]


def test_asked_back_and_explained(shell, picture, frames, tmp_path):
    """The agreement is printed and lies in the files; the branches are a picture."""
    code, printed, out = shell("segment", picture, "the red square", "--verify", "--explain")
    assert code == 0
    assert ", agreement 0." in printed[1]
    assert Image.open(out / "explain_0.png").size[0] > 64
    assert SegmentationResult.from_json(out / "result.json").objects[0].agreement is not None
    code, printed, _ = shell("segment", frames, "the red square", "--verify", "--out", "video")
    assert code == 0
    assert any(", agreement 0." in line for line in printed)


def test_a_forced_object_is_told_in_every_line_and_file(shell, picture, shipped):
    """`ok` alone hid that the model had said there is none."""
    code, printed, out = shell("segment", picture, "the yellow star")
    assert code == 0
    (answer,) = json.loads((out / "answers.json").read_text())
    (entry,) = json.loads((out / "result.json").read_text())["objects"]
    assert answer["forced"] == entry["forced"]
    assert ("forced its [SEG]" in printed[0]) == answer["forced"]
    assert ".." not in answer["answer"]


def test_objects_have_one_number_in_what_is_printed_and_in_files(shell, picture, frames, tmp_path):
    """Printed and in reasons each request counted from 0, in masks and JSON they were numbered through."""
    for source, folder in ((picture, "one"), (frames, "many")):
        code, printed, _ = shell("segment", source, "the red object", "the yellow star", "--out", folder)
        assert code == 0
        lines = [line for line in printed if line.startswith("  object ")]
        answers = json.loads((tmp_path / folder / "answers.json").read_text())
        assert [f"  object {number}:" for answer in answers for number in answer["objects"]] == [
            line[: line.index(":") + 1] for line in lines
        ]
        assert len(lines) >= 2
        for answer in answers:
            named = [int(number) for number in re.findall(r"object (\d+):", answer["reason"])]
            assert set(named) <= set(answer["objects"])


def test_descriptions_of_pictures_and_regions(shell, picture, frames):
    """One answer for the whole, one for each region, and questions about regions."""
    for source in (picture, frames):
        for words, count in ((["--task", "caption"], 1), (["--task", "region", *BOXES], 2)):
            code, printed, _ = shell("chat", source, *words, "--max-new-tokens", "6")
            assert (code, len(printed)) == (0, count)
        code, printed, _ = shell("chat", source, "What is region 2?", "is it red?", *BOXES, "--max-new-tokens", "3")
        assert (code, len(printed)) == (0, 2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["segment", "PICTURE"], "nothing is asked about"),
        (["segment", "PICTURE", "--box", "1,2,3"], "--box: '1,2,3' is no box"),
        (["segment", "PICTURE", "--point", "1,nan"], "--point: '1,nan' is no point"),
        (["segment", "PICTURE", "--point", "500,2"], "lies outside the picture of 64 x 48 pixels"),
        (["segment", "PICTURE", "--mask", "nowhere.png"], "--mask (nowhere.png): no such file"),
        (["segment", "PICTURE", "--box", "1,2,9,9", "--verify"], "--verify is about requests in words"),
        (["segment", "PICTURE", "--box", "1,2,9,9", "--task", "chat"], "'chat' is unknown"),
        (["segment", "FRAMES", "it", "--explain"], "--explain is for pictures"),
        (["segment", "FRAMES", "--box", "1,2,9,9", "--strategy", "memory"], "--strategy is for requests in words"),
        (["segment", "FRAMES", "--box", "1,2,9,9", "--key-frames", "0,2"], "the one frame"),
        (["segment", "FRAMES", "it", "--box", "1,2,9,9", "--key-frames", "auto"], "key_frames='auto' is for texts"),
        (["chat", "PICTURE"], "nothing is asked about"),
        (["chat", "PICTURE", "--task", "region"], "--task region is about what is marked"),
    ],
)
def test_what_can_not_be_meant_is_one_line(shell, picture, frames, tmp_path, words, message):
    places = {"PICTURE": picture, "FRAMES": frames}
    code, said, _ = shell(*(places.get(word, word) for word in words))
    assert code == 2
    assert message in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
