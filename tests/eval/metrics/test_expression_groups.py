"""ReVOS' and Ref-SAV's figures by hand."""

import numpy as np
import pytest

from desa2va.eval.metrics.expression_groups import RefSAV, ReVOS, pixel_accuracy, robustness


def row(*pixels, frames=1):
    """A clip of one row of 10 pixels of which some are set."""
    clip = np.zeros((frames, 1, 10), bool)
    clip[:, 0, list(pixels)] = True
    return clip


def test_accuracy_and_robustness_by_hand():
    """Prediction 0-3, truth 2-5: 4 of 10 pixels disagree, 2 lie outside the truth; the foreground has 8: R = 3/4."""
    prediction, truth, foreground = row(0, 1, 2, 3), row(2, 3, 4, 5), row(*range(8))
    assert pixel_accuracy(prediction, truth).tolist() == [0.6]
    assert robustness(prediction, truth, foreground) == pytest.approx([0.75], abs=1e-6)
    assert robustness(prediction, truth, row()).tolist() == [0]  # not negative
    assert robustness(truth, truth, row()).tolist() == [1]


def test_frames_are_averaged_after_robustness():
    """R of frames 1 and 0 is 1/2; clipping the mean instead would give max(0, (1 - 9)/2) = 0."""
    prediction = np.concatenate([row(0), row(*range(10))])
    truth, foreground = row(0, frames=2), row(0, frames=2)
    assert robustness(prediction, truth, foreground).mean() == 0.5


def test_overall_is_the_mean_of_groups_and_no_object_stands_apart():
    """Two perfect referring and one empty reasoning expression: overall 50, not 66.7. Kind 2 changes nothing."""
    scores = ReVOS()
    full = row(2, 3, 4)
    for kind, prediction in ((0, full), (0, full), (1, row()), (2, full)):
        scores.add(prediction, full if kind < 2 else row(), full, kind)
    figures = scores.compute()
    assert figures["referring"] == {"n": 2, "j": 100, "f": 100, "a": 100, "r": 100, "jf": 100}
    assert (figures["reasoning"]["j"], figures["reasoning"]["a"], figures["reasoning"]["r"]) == (0, 70, 100)
    assert (figures["overall"]["jf"], figures["overall"]["a"], figures["overall"]["n"]) == (50, 85, 3)
    assert figures["no_such_object"]["r"] == 0


def test_each_expression_is_rounded_before_the_mean():
    """J of 1/3 and 1/3 and 2/3: (33.33 + 33.33 + 66.67) / 3 = 44.44333.., without rounding 44.44444..."""
    found = {}
    for decimals in (2, None):
        scores = RefSAV(decimals)
        for prediction in (row(0), row(0), row(0, 1)):
            scores.add(prediction, row(0, 1, 2), 0)
        found[decimals] = scores.compute()["long"]["j"]
    assert found[2] == pytest.approx((33.33 + 33.33 + 66.67) / 3, abs=1e-12)
    assert found[None] == pytest.approx(400 / 9, abs=1e-12)


def test_a_group_without_expressions():
    scores = RefSAV()
    scores.add(row(0), row(0), 1)
    figures = scores.compute()
    assert figures["short"]["jf"] == 100
    assert figures["long"] is figures["overall"] is None


def test_bad_input():
    with pytest.raises(ValueError, match="kind 0 to 1"):
        RefSAV().add(row(0), row(0), 2)
    with pytest.raises(ValueError, match="at least one frame"):
        RefSAV().add(row(0)[:0], row(0)[:0], 1)
    with pytest.raises(ValueError, match="alike"):
        ReVOS().add(row(0), row(0), row(0, frames=2), 1)


def test_random_expressions_against_the_published_steps():
    """J, A and R of every frame from sets of pixels; per expression times 100, two decimals, then means by kind."""
    rng = np.random.default_rng(2)
    scores, rows = ReVOS(), {0: [], 1: []}
    for number in range(30):
        truth, prediction, more = rng.random((3, 4, 5, 6)) < 0.4
        foreground = truth | more
        scores.add(prediction, truth, foreground, number % 3)
        frames = [[], [], []]
        for said, real, fore in zip(prediction, truth, foreground, strict=True):
            said, real, fore = ({*zip(*np.nonzero(mask), strict=True)} for mask in (said, real, fore))
            frames[0].append(len(said & real) / len(said | real))
            frames[1].append(1 - len(said ^ real) / 30)
            frames[2].append(max(0, 1 - len(said - real) / (len(fore) + 1e-6)))
        if number % 3 < 2:
            rows[number % 3].append([round(100 * sum(values) / 4, 2) for values in frames])
    figures = scores.compute()
    means = {kind: np.mean(values, axis=0) for kind, values in rows.items()}
    for kind, group in ((0, "referring"), (1, "reasoning")):
        assert [figures[group][name] for name in "jar"] == pytest.approx(means[kind], abs=1e-9)
    assert [figures["overall"][name] for name in "jar"] == pytest.approx((means[0] + means[1]) / 2, abs=1e-9)
