"""cIoU, gIoU and Precision@t."""

import numpy as np
import pytest

from desa2va.eval.metrics.referring import ReferringSegmentation, overlap


def mask(*pixels, size=8):
    """A row of `size` pixels of which some are set."""
    row = np.zeros((1, size), bool)
    row[0, list(pixels)] = True
    return row


def collected(*pairs):
    scores = ReferringSegmentation()
    for prediction, truth in pairs:
        scores.add(prediction, truth)
    return scores.compute()


def test_values_by_hand():
    """IoUs 1/3 (1 of 3 pixels), 1 (4 of 4) and 1/2 (1 of 2): cIoU 6/9, gIoU 11/18; 1/2 is not above 0.5."""
    figures = collected((mask(0, 1), mask(1, 2)), (mask(0, 1, 2, 3), mask(0, 1, 2, 3)), (mask(5), mask(5, 6)))
    assert figures["ciou"] == pytest.approx(6 / 9)
    assert figures["giou"] == pytest.approx(11 / 18)
    assert figures["precision@0.5"] == pytest.approx(1 / 3)
    assert figures["precision@0.9"] == pytest.approx(1 / 3)
    assert figures["n"] == 3


def test_an_answer_without_mask_counts():
    """The evaluator published with the paper leaves such expressions out of cIoU, which raises it."""
    figures = collected((mask(0), mask(0)), (mask(), mask(1, 2, 3)))
    assert figures["ciou"] == pytest.approx(1 / 4)
    assert figures["giou"] == pytest.approx(1 / 2)


def test_two_empty_masks_are_perfect_and_weigh_nothing_in_ciou():
    figures = collected((mask(), mask()), (mask(0, 1), mask(1, 2)))
    assert figures["giou"] == pytest.approx((1 + 1 / 3) / 2)
    assert figures["ciou"] == pytest.approx(1 / 3)
    assert collected((mask(), mask()))["ciou"] == 1


def test_ignored_pixels_count_for_neither():
    """Pixel 1 is predicted, pixel 2 true; both are void, so intersection and union hold pixel 0 alone."""
    assert overlap(mask(0, 1), mask(0, 2), ignore=mask(1, 2)) == (1, 1)


def test_bad_input():
    with pytest.raises(ValueError, match=r"\(1, 8\).*\(1, 9\)"):
        ReferringSegmentation().add(mask(), mask(size=9))
    with pytest.raises(ValueError, match="no sample was added"):
        ReferringSegmentation().compute()


def test_lisa_and_exact_by_hand():
    """I/U of 1/2 and 0/0: LISA's margins give 1/(2 + 1e-5) and 1, and 1/(2 + 1e-10) over the split."""
    figures = {}
    for protocol in ("exact", "lisa"):
        scores = ReferringSegmentation(protocol=protocol)
        scores.add_counts(1, 2)
        scores.add_counts(0, 0)
        figures[protocol] = scores.compute()
    assert (figures["exact"]["giou"], figures["exact"]["ciou"]) == (0.75, 0.5)
    assert figures["lisa"]["giou"] == pytest.approx((1 / (2 + 1e-5) + 1) / 2, abs=1e-15)
    assert figures["lisa"]["ciou"] == pytest.approx(1 / (2 + 1e-10), abs=1e-15)
    assert figures["lisa"]["giou"] < 0.75


def test_precision_at_the_threshold_itself():
    """An IoU of exactly 1/2 exceeds .5 for ReLA only."""
    for inclusive, expected in ((False, 0), (True, 1)):
        scores = ReferringSegmentation(thresholds=(0.5,), inclusive=inclusive)
        scores.add_counts(1, 2)
        assert scores.compute()["precision@0.5"] == expected


def test_ignored_pixels_of_another_size():
    with pytest.raises(ValueError, match="ignored pixels"):
        overlap(np.ones((2, 2)), np.ones((2, 2)), np.ones(2))
