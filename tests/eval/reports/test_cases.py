"""Which samples are shown."""

import pytest

from desa2va.eval.reports.cases import choose_cases


def test_best_median_and_worst_by_hand():
    scores = [0.5, 0.9, 0.1, 0.7, 0.3, 0.8, 0.2, 0.6, 0.4]
    assert choose_cases(scores, 2) == {"best": [1, 5], "median": [8, 0], "worst": [2, 6]}


@pytest.mark.parametrize("number", range(1, 12))
def test_none_is_shown_twice_and_small_runs_show_what_they_have(number):
    """Guards against one sample that is best and worst at once."""
    chosen = choose_cases([0.5] * number, 4)
    shown = [place for places in chosen.values() for place in places]
    assert len(set(shown)) == len(shown) == min(number, 12)


def test_equal_scores_keep_their_order():
    assert choose_cases([0.0] * 9, 1) == choose_cases([0.0] * 9, 1) == {"best": [8], "median": [4], "worst": [0]}
