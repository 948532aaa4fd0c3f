"""RefShapes rows rebuild the very samples, in tables and in streams read by several workers."""

import numpy as np
from torch.utils.data import DataLoader

from desa2va.training.data.refshapes.dataset import RefShapes
from desa2va.training.data.refshapes.kinds import ALL_PICTURE_KINDS
from desa2va.training.data.refshapes.table import refshapes_dataset, refshapes_stream, sample_from_row

OPTIONS = {"level": "full", "length": 9, "video_fraction": 0.3, "size": 64}


def assert_same(first, second):
    assert (first.name, first.is_video) == (second.name, second.is_video)
    assert np.array_equal(first.frames, second.frames)
    assert np.array_equal(first.scene["instance_map"], second.scene["instance_map"])
    assert first.scene["objects"] == second.scene["objects"]
    for one, other in zip(first.conversations, second.conversations, strict=True):
        assert (one.turns, one.labels, one.kind, one.targets) == (other.turns, other.labels, other.kind, other.targets)
        assert np.array_equal(one.masks, other.masks)
        assert (one.regions is None) == (other.regions is None)
        assert one.regions is None or np.array_equal(one.regions, other.regions)


def test_table_rows_rebuild_the_samples(tmp_path):
    """Guards lossy pictures and lost fields, region prompts and empty mask lists included."""
    options = {**OPTIONS, "kinds": dict.fromkeys(ALL_PICTURE_KINDS, 1.0)}
    table = refshapes_dataset("test", cache_dir=str(tmp_path), **options)
    data = RefShapes("test", **options)
    assert len(table) == len(data)
    for index in range(len(data)):
        assert_same(sample_from_row(table[index]), data[index])


def test_stream_gives_each_sample_once_with_any_number_of_workers():
    """Guards shards read twice or skipped."""
    data = RefShapes("train", **OPTIONS)
    for workers in (0, 2):
        stream = refshapes_stream("train", num_shards=4, **OPTIONS)
        assert stream.num_shards == 4
        rows = list(DataLoader(stream, batch_size=None, num_workers=workers))
        indices = sorted(int(row["name"].rsplit("/", 1)[1]) for row in rows)
        assert indices == list(range(len(data)))
        for row in rows:
            assert_same(sample_from_row(row), data[int(row["name"].rsplit("/", 1)[1])])


def test_more_shards_than_samples():
    """Guards empty shards in tiny trials."""
    rows = list(refshapes_stream("train", num_shards=8, length=3, conversations=1, size=64))
    assert [row["name"] for row in rows] == [f"refshapes/train/{index}" for index in range(3)]
