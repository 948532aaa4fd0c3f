"""The comparison with the package of SAM-2's authors compares the same thing."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks import sam2_package  # noqa: E402

INSTALLED = importlib.util.find_spec("sam2") is not None


@pytest.mark.skipif(not INSTALLED, reason="the package sam2 is not installed")
def test_both_sides_follow_the_same_objects():
    """No time is asserted. The package makes a first frame's memory from a mask of a quarter of the size."""
    report = sam2_package.compare(64, num_objects=2, pieces=1, filled=3)
    assert report["equal_pixels"] == pytest.approx(1.0, abs=0.01)
    assert min(report["their_seconds"], report["our_seconds"]) > 0


def test_without_the_package_every_case_says_so(monkeypatch, capsys):
    """Whoever measures on another machine must not get an error for a side that is optional."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert sam2_package.main(["--cases", "512px_1"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["skipped"] == {"512px_1": "the package sam2 is not installed"}
    assert report["failed"] == {}
