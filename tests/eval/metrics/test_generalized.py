"""gRefCOCO's measures."""

import numpy as np
import pytest

from desa2va.eval.metrics.generalized import GeneralizedReferring
from desa2va.eval.metrics.referring import ReferringSegmentation


def mask(*pixels):
    """A row of 8 pixels of which some are set."""
    row = np.zeros((1, 8), bool)
    row[0, list(pixels)] = True
    return row


def test_the_four_cases_by_hand():
    """One of each case.

    Nothing/nothing: 1. Nothing, but 2 pixels predicted: 0, union 2. Something, said nothing but with a raw mask of
    pixels 0, 1 against truth 1, 2: 0, union 3. Something, IoU 3/4. So gIoU = 1.75/4, cIoU = 3/(2+3+4).
    """
    scores = GeneralizedReferring()
    scores.add(mask(), mask())
    scores.add(mask(0, 1), mask())
    scores.add(mask(0, 1), mask(1, 2), says_nothing=True)
    scores.add(mask(0, 1, 2), mask(0, 1, 2, 3))
    figures = scores.compute()
    assert figures["giou"] == pytest.approx(1.75 / 4)
    assert figures["ciou"] == pytest.approx(3 / 9)
    assert figures["n_acc"] == figures["t_acc"] == 0.5
    assert (figures["n"], figures["n_no_target"]) == (4, 2)
    assert figures["precision@0.7"] == 0.5  # of the two with a target
    assert figures["precision@0.8"] == 0


def test_precision_includes_the_threshold():
    """ReLA's evaluator counts an IoU of exactly t, unlike Precision@t of RefCOCO."""
    scores = GeneralizedReferring(thresholds=(0.75,))
    scores.add(mask(0, 1, 2), mask(0, 1, 2, 3))
    assert scores.compute()["precision@0.75"] == 1


def test_a_measure_without_expressions_is_none():
    """N-acc of a set where everything fits something is unknown, not 0 or 1."""
    scores = GeneralizedReferring()
    scores.add(mask(0), mask(0))
    assert scores.compute()["n_acc"] is None
    assert scores.compute()["t_acc"] == 1
    with pytest.raises(ValueError, match="no sample was added"):
        GeneralizedReferring().compute()


def test_equals_plain_measures_where_everything_fits():
    """Both classes define the same gIoU and cIoU where every expression has a target and a mask."""
    rng = np.random.default_rng(0)
    plain, general = ReferringSegmentation(), GeneralizedReferring()
    for _ in range(5):
        prediction, truth = rng.random((2, 6, 7)) < 0.5
        plain.add(prediction, truth)
        general.add(prediction, truth)
    for name in ("ciou", "ciou_se", "giou", "giou_se"):
        assert plain.compute()[name] == pytest.approx(general.compute()[name])


def test_small_predictions_are_cleared_on_request():
    """Two pixels where three are asked for say "nothing": right where nothing fits, wrong where something does."""
    for least, (n_acc, t_acc, giou) in ((0, (0, 1, 0.5)), (3, (1, 0, 0.5))):
        scores = GeneralizedReferring(min_pixels=least)
        scores.add(mask(0, 1), mask(), says_nothing=False)
        scores.add(mask(0, 1), mask(0, 1))
        figures = scores.compute()
        assert (figures["n_acc"], figures["t_acc"], figures["giou"]) == (n_acc, t_acc, giou)
    assert figures["ciou"] == 0  # the cleared mask has left the union: 0 of 2 pixels


def test_a_target_without_pixels_is_a_target():
    """Polygons too thin to cover a pixel: not an expression that fits nothing, and IoU 0 whatever is said."""
    scores = GeneralizedReferring()
    scores.add(mask(), mask(), says_nothing=False, fits_nothing=False)
    scores.add(mask(), mask(), says_nothing=True, fits_nothing=True)
    figures = scores.compute()
    assert (figures["n_no_target"], figures["t_acc"], figures["n_acc"], figures["giou"]) == (1, 1, 1, 0.5)
    with pytest.raises(ValueError, match="must be empty"):
        scores.add(mask(), mask(1), fits_nothing=True)


def test_clips_are_nothing_where_no_frame_has_a_mask():
    """Two frames: found on one of them is something, IoU 1/2; a mask on one frame where nothing fits is wrong."""
    clip, empty = np.stack([mask(0, 1), mask(0, 1)]), np.stack([mask(), mask()])
    half = np.stack([mask(0, 1), mask()])
    scores = GeneralizedReferring()
    for prediction, truth in ((half, clip), (half, empty), (empty, empty)):
        scores.add(prediction, truth)
    figures = scores.compute()
    assert (figures["giou"], figures["n_acc"], figures["t_acc"]) == (0.5, 0.5, 1)
    assert figures["ciou"] == pytest.approx(2 / 6)


def test_random_masks_against_pixel_sets():
    """Sixty expressions of all cases, with sets of pixels instead of arrays and the table of cases spelt out."""
    rng = np.random.default_rng(1)
    scores = GeneralizedReferring()
    ious, intersections, unions, said_right, fits_right, above = [], 0, 0, [], [], []
    for number in range(60):
        truth = np.zeros((4, 5), bool) if number % 3 == 0 else rng.random((4, 5)) < 0.5
        truth[0, 0] |= number % 3 != 0
        prediction = truth ^ (rng.random((4, 5)) < 0.15)
        silent = not prediction.any() or rng.random() < 0.4
        scores.add(prediction, truth, says_nothing=silent)
        one, other = ({*zip(*np.nonzero(mask), strict=True)} for mask in (prediction, truth))
        if not other:
            said_right.append(silent)
            ious.append(1 if silent else 0)
            unions += 0 if silent else len(one)
            continue
        fits_right.append(not silent)
        ious.append(0 if silent else len(one & other) / len(one | other))
        above.append(ious[-1] >= 0.8)
        intersections += 0 if silent else len(one & other)
        unions += len(one | other)
    figures = scores.compute()
    expected = {
        "giou": sum(ious) / 60,
        "ciou": intersections / unions,
        "n_acc": sum(said_right) / 20,
        "t_acc": sum(fits_right) / 40,
        "precision@0.8": sum(above) / 40,
    }
    assert all(0 < value < 1 for value in expected.values())
    assert {name: figures[name] for name in expected} == pytest.approx(expected)
