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
    with pytest.raises(ValueError, match="equally many"):
        ReferringSegmentation().compute()
