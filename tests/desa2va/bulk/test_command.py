"""The command on many: what is many, what is refused, and the module that launchers start."""

import json
import runpy
import sys

import numpy as np
import pytest
from PIL import Image

from desa2va.cli import main


@pytest.fixture
def folder(scenes, tmp_path, monkeypatch):
    """Three pictures in the folder `photos` of the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for number in range(3):
        Image.fromarray(np.asarray(scenes[number].frames[0])).save(tmp_path / "photos" / f"{number}.png")
    return tmp_path


def test_a_folder_of_pictures_is_many_only_when_asked(folder, capsys):
    """Without --each it is a video, as it always was."""
    words = ["segment", "photos", "the ring", "--device", "cpu", "--max-new-tokens", "8", "--out"]
    assert main([*words, "each", "--each", "--table-only", "--batch", "4", "--num-key-frames", "2"]) == 0
    said = capsys.readouterr().out
    assert "each: 3 of 3 done, 0 failed, 0 left" in said
    assert "--num-key-frames changed nothing: no video is among them" in said
    assert json.loads((folder / "each" / "report.json").read_text())["kinds"] == {"image": 3}
    assert main([*words, "video"]) == 0
    assert (folder / "video" / "overlay.mp4").is_file()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["photos", "x", "--each"], "--out is needed"),
        (["photos", "x", "--each", "--out", "o", "--replace"], "--replace is for one"),
        (["photos", "x", "--each", "--out", "o", "--point", "1,1"], "--point is for one"),
        (["photos", "--each", "--out", "o"], "nothing is asked"),
        (["photos/0.png", "x", "--each", "--out", "o"], "--each is for a folder"),
        (["empty.txt", "x", "--out", "o"], "the list is empty"),
        (["photos", "x", "--column", "image", "--out", "o"], "neither a data set"),
        (["above", "x", "--out", "o"], "no pictures and no videos"),
    ],
)
def test_what_can_not_be_meant_is_one_line(folder, words, told, capsys):
    """Before a model is loaded, and with nothing written."""
    (folder / "empty.txt").write_text("# nothing\n")
    (folder / "above" / "below").mkdir(parents=True)
    assert main(["segment", *words]) == 2
    assert told in capsys.readouterr().err
    assert not (folder / "o").exists()


def test_the_module_that_launchers_start_takes_its_share(folder, monkeypatch, capsys):
    """`accelerate launch -m desa2va.segment`: the variables of the launcher say which share."""
    words = ["photos", "the ring", "--each", "--out", "out", "--table-only", "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", ["segment.py", *words])
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SystemExit) as end:
        runpy.run_module("desa2va.segment", run_name="__main__")
    assert end.value.code == 0
    assert "out: 1 of 3 done, 0 failed, 2 left" in capsys.readouterr().out
