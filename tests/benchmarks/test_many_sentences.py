"""The benchmark of sentences and drafts compares answers that are the same."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks import many_sentences  # noqa: E402


def test_every_way_says_the_same(monkeypatch):
    """No time is asserted."""
    monkeypatch.setattr(many_sentences, "TILES", 1)
    report = many_sentences.measure(many_sentences.build(layers=1, width=128), count=3, repeats=1)
    assert report["same_tokens"]
    assert report["state_difference"] < 1e-5 * max(report["state_deviation"], 1)
