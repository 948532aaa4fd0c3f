"""The benchmark of many records runs, on few."""

import datasets

from benchmarks.million_records import report
from desa2va.training.data import record_index


def test_every_stage_is_measured(tmp_path, monkeypatch):
    """Guards against a benchmark that rots, and a child that died without a word."""
    monkeypatch.setattr(record_index, "HELD", 50)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    found = report(300, tmp_path)
    assert len(found) == 8
    assert all(set(figures) == {"seconds", "own", "peak"} for figures in found.values())
