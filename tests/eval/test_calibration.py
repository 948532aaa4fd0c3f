"""Thresholds by hand, a fit that finds a known answer, and what is read of a model's answers."""

import numpy as np
import pytest

from desa2va.eval import calibration
from desa2va.eval.calibration import Observed, calibrate, choose, curve, fit_weights, summarise


def observed(count=400, seed=0):
    """Requests whose evidence tells most of the sides apart; all are answered."""
    rng = np.random.default_rng(seed)
    fits = np.arange(count) % 2 == 0
    evidence = rng.normal(size=(count, 3)) + np.where(fits[:, None], [1.5, 0.5, 0.0], [-1.5, -0.5, 0.0])
    return Observed(list(evidence), [True] * count, [True] * count, fits.tolist())


def test_the_curve_by_hand():
    """Scores .1 .3 | .6 .9, positives .3 and .9, a positive that never counts: at .2 both are accepted of three."""
    scores, positive = np.array([0.1, 0.3, 0.6, 0.9, 0.0]), np.array([False, True, False, True, True])
    points = curve(scores, positive, np.array([True, True, True, True, False]))
    assert points["threshold"].tolist() == pytest.approx([0.1, 0.2, 0.45, 0.75])
    assert points["true"].tolist() == pytest.approx([2 / 3, 2 / 3, 1 / 3, 1 / 3])
    assert points["none"].tolist() == [0, 0.5, 0.5, 1]
    assert [choose(points, least) for least in (0.9, 0.6, 0.3)] == [None, 1, 3]


def test_of_equal_accuracies_the_lowest_threshold_is_taken():
    """Every further refusal would cost answers for nothing."""
    points = curve(np.array([1.0, 2.0, 3.0]), np.array([False, True, True]))
    assert choose(points, 0.5) == 1


def test_the_fit_finds_a_known_answer():
    """Labels drawn from a logistic model of known weights, on a scale of its own."""
    rng = np.random.default_rng(0)
    evidence = rng.normal(size=(20_000, 3)) * [1.0, 5.0, 0.2] + [0.0, 3.0, 1.0]
    logit = evidence @ [1.0, -0.4, 2.0] + 0.5
    fitted = fit_weights(evidence, rng.random(len(logit)) < 1 / (1 + np.exp(-logit)))
    assert list(fitted.values()) == pytest.approx([1.0, -0.4, 2.0, 0.5], abs=0.3)


def test_the_fit_stays_finite():
    """Sides that are told apart without an error, one side alone, and no request that marks anything."""
    rows = np.array([[-1.0, 0, 0], [1.0, 0, 0]] * 50)
    for evidence, fits in ((rows, rows[:, 0] > 0), (rows, np.ones(100, bool)), (np.zeros((0, 3)), np.zeros(0, bool))):
        assert all(abs(value) < 100 for value in fit_weights(evidence, fits).values())


def test_more_is_refused_and_the_wanted_rate_is_kept():
    """Today nothing is refused: the calibrated threshold refuses nearly all that fits nothing, and keeps the rate."""
    report = calibrate(observed(), 0.95)
    assert report["before"] == {"n_acc": 0, "t_acc": 1}
    assert report["after"]["t_acc"] >= 0.95
    assert report["after"]["n_acc"] > 0.85
    assert 0 < report["fields"]["target_calibration"]["threshold"] < 1
    assert [row["t_acc"] for row in report["curve"]] == sorted((row["t_acc"] for row in report["curve"]), reverse=True)
    assert "object_score_threshold" not in report["fields"]


def test_frames_have_a_threshold_where_there_are_enough():
    """Absent frames score -1 to 1, present ones 2 and above: a threshold of 0 tells half of the absent ones."""
    seen = observed()
    seen.frame_scores = [*np.linspace(-1, 1, 40), *np.linspace(2, 3, 40)]
    seen.on_frame = [False] * 40 + [True] * 40
    for row in seen.evidence:
        row[1] = 5.0
    report = calibrate(seen, 0.95)
    assert report["frames"]["before"] == {"n_acc": 0.5, "t_acc": 1}
    assert report["frames"]["after"] == {"n_acc": 1, "t_acc": 1}
    assert report["fields"]["object_score_threshold"] == pytest.approx(1.5)


def test_a_threshold_of_frames_that_costs_more_than_it_brings_is_not_written():
    """The shipped model's object score hardly knows absence: 19 absent frames told, 38 others lost."""
    seen = observed()
    seen.frame_scores = [*np.linspace(1, 3, 40), *np.linspace(1.1, 3.1, 2000)]
    seen.on_frame = [False] * 40 + [True] * 2000
    plain, report = calibrate(observed(), 0.95), calibrate(seen, 0.95)
    assert report["frames"]["after"]["n_acc"] > report["frames"]["before"]["n_acc"] == 0
    assert report["fields"] == plain["fields"]
    assert report["after"] == plain["after"]
    assert "it is not written" in summarise(report, 0.95)


def test_a_rate_that_no_threshold_reaches_is_an_error():
    seen = observed()
    seen.marked = seen.drawn = [False] * 40 + [True] * 360
    with pytest.raises(ValueError, match=r"answers 0.900 of the requests"):
        calibrate(seen, 0.95)


@pytest.mark.parametrize("side", [True, False])
def test_one_side_alone_is_refused(side):
    """A threshold between what fits and nothing would be that of chance."""
    seen = Observed([np.zeros(3)] * 4, [True] * 4, [True] * 4, [side] * 4)
    with pytest.raises(ValueError, match="needs both"):
        seen.check("mine.json")


def test_observing_reads_what_the_model_tells(shipped):
    """Sixteen requests of the shipped model: those without a target are told by evidence of their own."""
    model, processor = shipped
    seen = calibration.observe(model, processor, calibration.refshapes_requests(16, videos=2))
    assert len(seen.evidence) == len(seen.drawn) == 18
    assert sum(seen.has_target[:16]) == 8
    assert all(np.isfinite(row).all() for row in seen.evidence)
    assert all(not row.any() for row, marked in zip(seen.evidence, seen.marked, strict=True) if not marked)
    assert sum(seen.drawn[:8]) >= 7
    assert len(seen.frame_scores) == len(seen.on_frame) <= 2 * 6
