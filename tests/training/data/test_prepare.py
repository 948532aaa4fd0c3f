"""Prepared sets: the same samples, whole or streamed, however often the writing was killed."""

import json
import os
import signal
import time

import datasets
import numpy as np
import pytest
from PIL import Image

from desa2va.cli import main
from desa2va.processing.files import encode_mask
from desa2va.training.data.build import open_dataset
from desa2va.training.data.prepare import MANIFEST, prepare
from desa2va.training.data.sampling import sample_cost
from desa2va.training.data.sources import open_source

SIZE = (24, 32)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def write(folder, count):
    """A fine-tune file with pictures, a folder of frames and chat."""
    (folder / "images" / "clip").mkdir(parents=True)
    records = []
    for number in range(count):
        noise = np.random.default_rng(number).integers(0, 256, (*SIZE, 3)).astype(np.uint8)
        Image.fromarray(noise).save(folder / "images" / f"{number}.png")
        mask = encode_mask(np.arange(SIZE[1])[None] < np.full((SIZE[0], 1), 3 + number % 20))
        records.append({"image": f"{number}.png", "text": ["it", "no"], "mask": [mask, None], "caption": "Noise."})
        if number < 12:
            Image.fromarray(noise).save(folder / "images" / "clip" / f"{number}.png")
    records.append({"video": "clip", "text": ["it"], "mask": [[mask] * 12]})
    (folder / "train.json").write_text(json.dumps(records))
    return str(folder / "train.json")


def equal(first, second):
    assert len(first) == len(second)
    for own, other in zip(first, second, strict=True):
        assert np.array_equal(own.frames, other.frames)
        assert own.is_video == other.is_video
        for said, heard in zip(own.conversations, other.conversations, strict=True):
            assert said.turns == heard.turns
            assert np.array_equal(said.masks, heard.masks)


@pytest.mark.parametrize("link", [False, True])
def test_prepared_is_what_was_read(tmp_path, link):
    """Guards pixels, masks, order of frames (2.png before 10.png), counts and licences."""
    path = write(tmp_path, 12)
    manifest = prepare(open_source(path), tmp_path / "out", shard_size=5, link=link)
    assert [shard["file"] for shard in manifest["shards"]] == [f"train-{k:05d}-of-00003.parquet" for k in range(3)]
    assert manifest["counts"]["expressions"] == 25
    assert manifest["licences"] == {"not recorded": 13}
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        MANIFEST,
        *(shard["file"] for shard in manifest["shards"]),
    ]
    equal(open_dataset(path), open_dataset(tmp_path / "out"))


def test_lengths_are_told_without_the_pictures(tmp_path, monkeypatch):
    """Guards against an order by length that reads all pictures from disk before they are needed."""
    prepare(open_source(write(tmp_path, 12)), tmp_path / "out", shard_size=5)
    data = open_dataset(tmp_path / "out")
    costs = [sample_cost(open_dataset(str(tmp_path / "train.json")), index) for index in range(13)]
    monkeypatch.setattr(data.records, "make", None)
    assert [sample_cost(data, index) for index in range(13)] == costs
    assert not data.records.outline(0).media


def test_streamed(tmp_path, monkeypatch):
    """Guards the set that is read from front to back: every record once, another order in another epoch."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # datasets waits five seconds for its threads
    prepare(open_source(write(tmp_path, 12)), tmp_path / "out", shard_size=5)
    streamed = open_dataset(tmp_path / "out", streamed=True)
    first = [sample.name for sample in streamed]
    assert len(set(first)) == 13
    streamed.set_epoch(1)
    second = [sample.name for sample in streamed]
    assert first != second
    assert sorted(first) == sorted(second)
    with pytest.raises(ValueError, match="no length; leave out repeat"):
        open_dataset(tmp_path / "out", streamed=True, repeat=2)


def test_a_second_call_writes_nothing(tmp_path):
    """Guards against hours of repeated work, and against shards of two sources in one folder."""
    path = write(tmp_path, 12)
    manifest = prepare(open_source(path), tmp_path / "out", shard_size=5)
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "out").iterdir()}
    assert prepare(open_source(path), tmp_path / "out", shard_size=5) == manifest
    assert before == {file: file.stat().st_mtime_ns for file in (tmp_path / "out").iterdir()}
    with pytest.raises(FileExistsError, match="not of this source"):
        prepare(open_source(path), tmp_path / "out", shard_size=4)
    with pytest.raises(FileExistsError, match="is not empty"):
        prepare(open_source(path), tmp_path / "images")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_the_command_shows_its_progress(tmp_path, capsys):
    """Guards hours of work without a word: what was told to `progress` was shown to nobody."""
    path = write(tmp_path, 12)
    assert main(["data", "prepare", path, "--out", str(tmp_path / "out"), "--shard-size", "5"]) == 0
    told = capsys.readouterr()
    assert "3/3" in told.err
    assert "13 records in 3 shards" in told.out


def test_killed_and_repeated(tmp_path):
    """Guards against a half shard with a whole one's name: after any kill the same command ends with the same set."""
    path = write(tmp_path, 80)
    prepare(open_source(path), tmp_path / "whole", shard_size=2, workers=2)
    for shards in (0, 3, 20):
        child = os.fork()
        if child == 0:
            prepare(open_source(path), tmp_path / "out", shard_size=2, workers=2)
            os._exit(0)
        while len(list((tmp_path / "out").glob("*.parquet"))) < shards:
            time.sleep(0.001)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), "it ended before it was killed"
        assert not (tmp_path / "out" / MANIFEST).exists()
    prepare(open_source(path), tmp_path / "out", shard_size=2, workers=2)
    for name in sorted(os.listdir(tmp_path / "whole")):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    assert sorted(os.listdir(tmp_path / "whole")) == sorted(os.listdir(tmp_path / "out"))
