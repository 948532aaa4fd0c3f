"""MMBench-Video's means by hand."""

import pytest

from desa2va.eval.metrics.judged import GROUPS, MMBenchVideo
from desa2va.training.data.question_sets import LEAVES


def test_means_by_hand():
    """Scores 3 (two abilities of one group), none and 1: "all" counts the second as 0, "valid" leaves it out."""
    scores = MMBenchVideo()
    scores.add(3, ["OCR", "Counting"])
    scores.add(None, ["OCR"])
    scores.add(1, ["Hallucination", "Social Relation"])
    figures = scores.compute()
    assert (figures["n"], figures["n_valid"]) == (3, 2)
    assert (figures["coarse_all"]["FP-S"], figures["coarse_valid"]["FP-S"]) == (1.5, 3)
    assert (figures["fine_all"]["OCR"], figures["fine_valid"]["OCR"], figures["fine_all"]["Counting"]) == (1.5, 3, 3)
    assert figures["coarse_all"]["Overall"] == pytest.approx(4 / 3)
    assert (figures["coarse_all"]["Perception"], figures["coarse_all"]["Reasoning"]) == (pytest.approx(4 / 3), 1)
    assert figures["coarse_all"]["CP"] is None


def test_the_table_of_abilities():
    """26 leaves, each in one of nine groups, and perception and reasoning share none."""
    assert len(LEAVES) == len(set(LEAVES)) == 26
    assert set(GROUPS["Perception"]) ^ set(GROUPS["Reasoning"]) == set(GROUPS["Overall"]) == set(LEAVES)


def test_bad_input():
    with pytest.raises(ValueError, match="got 4"):
        MMBenchVideo().add(4, ["OCR"])
    with pytest.raises(ValueError, match="Reading"):
        MMBenchVideo().add(1, ["Reading"])
    with pytest.raises(ValueError, match="got none"):
        MMBenchVideo().add(1, [])
