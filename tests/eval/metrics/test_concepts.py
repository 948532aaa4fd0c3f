"""cgF1 by hand, and against values of SAM 3's own code."""

import itertools
import math

import numpy as np
import pytest

from desa2va.eval.metrics.concepts import ConceptSegmentation


def row(*pixels):
    mask = np.zeros((1, 20), bool)
    mask[0, list(pixels)] = True
    return mask


def span(start, stop):
    return row(*range(start, stop))


def test_by_hand():
    """Four samples, of which two have objects.

    Two objects of which one is found (IoU 1) and one missed, beside a wrong mask; nothing and nothing; nothing, but a
    mask; one object, IoU 8/12 = 2/3.

    Positives: TP 2, found 3, real 3 up to .65 (four thresholds), then TP 1: F1 = 2/3 four times, 1/3 six times.
    Presence: TP 2, TN 1, FP 1, FN 0: MCC = 2 / sqrt(3 * 2 * 2 * 1) = 1 / sqrt(3).
    """
    scores = ConceptSegmentation()
    scores.add([span(0, 4), span(15, 17)], [span(0, 4), span(6, 9)])
    scores.add([], [])
    scores.add([span(0, 4)], [])
    scores.add([span(0, 10)], [span(2, 12)])
    figures = scores.compute()
    assert (figures["n"], figures["n_positive"]) == (4, 2)
    assert figures["presence_mcc"] == pytest.approx(1 / math.sqrt(3))
    assert figures["positive_micro_f1"] == pytest.approx((4 * 2 / 3 + 6 * 1 / 3) / 10)
    assert figures["cgf1"] == pytest.approx(figures["positive_micro_f1"] / math.sqrt(3))
    assert figures["cgf1@0.5"] == pytest.approx(2 / 3 / math.sqrt(3))
    assert figures["positive_micro_f1@0.75"] == pytest.approx(1 / 3)


def test_values_of_sam3():
    """`CGF1Evaluator` of facebookresearch/sam3 (99d02f2) gave these on the same masks, as COCO files."""
    scores = ConceptSegmentation("sam3")
    scores.add([span(0, 4), span(15, 17)], [span(0, 4), span(6, 9)])
    scores.add([], [])
    scores.add([span(0, 4)], [], scores=[0.9])
    scores.add([span(0, 10), span(0, 2)], [span(2, 12)], scores=[0.6, 0.4])
    expected = {
        "cgf1": 0.26939220310046724,
        "cgf1@0.5": 0.3848583734338922,
        "cgf1@0.75": 0.19241475621151732,
        "positive_micro_f1": 0.4666011176290249,
        "presence_mcc": 0.5773501025230072,
    }
    found = scores.compute()
    assert {key: found[key] for key in expected} == pytest.approx(expected, abs=1e-12)


def test_pairs_are_the_best_of_all():
    """IoUs 3/5, 1/2 / 1/8, 0. The best sum is 1/2 + 1/8, with one pair at .5 and no more; greedily it is 3/5."""
    scores = ConceptSegmentation()
    scores.add([span(0, 4), span(4, 8)], [span(1, 5), span(0, 2)])
    assert scores.compute()["positive_micro_f1@0.5"] == 0.5
    assert scores.compute()["positive_micro_f1"] == pytest.approx(0.05)


def test_undefined_figures():
    """Without negatives the correlation is undefined and taken as 0, as SAM 3's margin makes it; without positives
    there is no F1."""
    scores = ConceptSegmentation()
    scores.add([span(0, 3)], [span(0, 3)])
    assert (scores.compute()["presence_mcc"], scores.compute()["cgf1"]) == (0, 0)
    empty = ConceptSegmentation()
    empty.add([], [])
    assert empty.compute()["cgf1"] is None


def test_clips_and_bad_input():
    clip = np.stack([span(0, 4), span(0, 0)])
    scores = ConceptSegmentation()
    scores.add([clip], [np.stack([span(0, 4), span(0, 4)])])
    assert scores.compute()["positive_micro_f1@0.5"] == 1
    with pytest.raises(ValueError, match="1 predictions have 2 scores"):
        scores.add([clip], [], scores=[1, 1])
    with pytest.raises(ValueError, match="must agree"):
        scores.add([clip], [clip[0]])


def best_pairs(ious):
    """IoUs of the one-to-one pairs with the largest sum, by trying every order."""
    if len(ious) > len(ious[0]):
        ious = [list(column) for column in zip(*ious, strict=True)]
    orders = itertools.permutations(range(len(ious[0])), len(ious))
    return max(([row[place] for row, place in zip(ious, order, strict=True)] for order in orders), key=sum)


def test_random_sets_against_trial_of_all_pairs():
    """Sets of up to four masks: pairs by trial, counts by loops, and the presence figure as Pearson's correlation."""
    rng = np.random.default_rng(0)
    scores, samples = ConceptSegmentation(), []
    for _ in range(60):
        truths = [rng.random((3, 4)) < 0.5 for _ in range(rng.integers(0, 4))]
        close = [mask ^ (rng.random(mask.shape) < 0.1) for mask in truths]
        found = [mask for mask in (*close, rng.random((3, 4)) < 0.5) if rng.random() < 0.6]
        scores.add(found, truths)
        samples.append((found, truths))
    f1 = []
    for step in range(10):
        hits = total = 0
        for found, truths in samples:
            if truths and found:
                ious = [[(one & two).sum() / (one | two).sum() for two in truths] for one in found]
                hits += sum(iou >= 0.5 + 0.05 * step - 1e-12 for iou in best_pairs(ious))
            total += len(found) + len(truths) if truths else 0
        f1.append(2 * hits / total)
    presence = np.corrcoef(*zip(*((bool(found), bool(truths)) for found, truths in samples), strict=True))[0, 1]
    figures = scores.compute()
    assert 0.1 < presence < 0.9
    assert 0 < f1[-1] < f1[0] < 1
    assert figures["presence_mcc"] == pytest.approx(presence)
    assert figures["positive_micro_f1"] == pytest.approx(np.mean(f1))
    assert figures["cgf1"] == pytest.approx(presence * np.mean(f1))
    assert figures["cgf1@0.75"] == pytest.approx(presence * f1[5])
