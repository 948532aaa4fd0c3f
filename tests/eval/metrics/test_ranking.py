import numpy as np
import pytest

from desa2va.eval.metrics.ranking import auroc, compare_auroc


@pytest.mark.parametrize(
    ("scores", "positives", "expected"),
    [
        ([1, 2, 3, 4], [0, 0, 1, 1], 1.0),
        ([4, 3, 2, 1], [0, 0, 1, 1], 0.0),
        ([1, 1, 1, 1], [0, 1, 0, 1], 0.5),
        ([1, 2, 2, 3], [0, 1, 0, 1], 0.875),
        ([1, 2, 3], [1, 1, 1], None),
        ([], [], None),
    ],
)
def test_auroc_by_hand(scores, positives, expected):
    """Of the four pairs (1 2), (1 3), (2 2), (2 3) three are right and one is a tie: 3.5 / 4."""
    assert auroc(scores, np.array(positives, bool)) == expected


def test_auroc_is_the_share_of_pairs_in_order():
    rng = np.random.default_rng(0)
    scores, chosen = rng.integers(0, 9, 60), rng.random(60) < 0.3
    pairs = [(a > b) + (a == b) / 2 for a in scores[chosen] for b in scores[~chosen]]
    assert auroc(scores, chosen) == pytest.approx(np.mean(pairs))
    with pytest.raises(ValueError, match="2 scores for 3 units"):
        auroc([1, 2], [True, False, True])


def test_intervals_hold_the_value_and_shrink_with_the_number():
    """Two scores that tell, one more than the other: the paired interval of their difference says which."""
    rng = np.random.default_rng(0)
    widths = []
    for count in (100, 1600):
        chosen = np.arange(count) % 4 == 0
        good, poor = chosen + rng.normal(0, 0.6, count), chosen + rng.normal(0, 3, count)
        rows = compare_auroc({"good": good, "poor": poor}, chosen)
        for row in rows.values():
            assert row["low"] <= row["auroc"] <= row["high"]
        assert rows["difference"]["auroc"] == rows["good"]["auroc"] - rows["poor"]["auroc"]
        widths.append(rows["poor"]["high"] - rows["poor"]["low"])
    assert rows["difference"]["low"] > 0
    assert widths[1] < widths[0] / 2
    assert compare_auroc({"good": good, "poor": poor}, chosen) == rows
    assert compare_auroc({"good": [1.0, 2.0]}, [True, True]) == {}
