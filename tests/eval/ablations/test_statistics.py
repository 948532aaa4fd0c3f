"""Differences with errors: right on cases whose answer is known."""

import numpy as np
import pytest

from desa2va.eval.ablations.statistics import Counts, difference, holm, mean_difference, paired_t


def simulate(generator, true_gap, seeds=5, scenes=100, seed_sd=0.02):
    """Two arms with a common difficulty of scenes, a difference that varies by seed, and noise of single answers."""
    hard = generator.normal(0.6, 0.15, scenes)
    gaps = true_gap + generator.normal(0, seed_sd, (seeds, 1))
    ious = [hard + offset + generator.normal(0, 0.1, (seeds, scenes)) for offset in (gaps, 0.0)]
    unions = np.full((seeds, scenes), 1000)
    return [Counts(np.rint(1000 * np.clip(iou, 0, 1)).astype(int), unions) for iou in ious]


def test_a_known_difference_is_found():
    """Seeds differ by .10 and .12 exactly: cIoU 60/100 - 50/100 and 62/100 - 50/100; t = .11 / .01."""
    unions = np.array([[20, 80], [20, 80]])
    own = Counts(np.array([[10, 50], [12, 50]]), unions)
    other = Counts(np.array([[10, 40], [10, 40]]), unions)
    found = difference(own, other)
    assert found["mean"] == pytest.approx(0.11)
    assert found["t"] == pytest.approx(11.0)
    assert found["n"] == 2
    assert found["low"] < 0.11 < found["high"]


def test_equal_arms_differ_by_nothing():
    own, _ = simulate(np.random.default_rng(0), 0.0)
    assert difference(own, own) == {"mean": 0.0, "low": 0.0, "high": 0.0, "t": 0.0, "p": 1.0, "n": 5}


def test_the_ratio_is_of_sums_and_not_the_mean_of_ratios():
    """A scene with a large union counts more: 1/1 and 0/99 give .01, not .5."""
    assert Counts(np.array([[1, 0]]), np.array([[1, 99]])).ciou() == pytest.approx([0.01])


def test_intervals_hold_the_truth_as_often_as_they_say():
    """400 experiments with five seeds: 95 % and a little more, less what 400 draws allow (three errors are .033).

    Guards the stretch: bare percentiles of five seeds hold the truth in less than 90 %.
    """
    generator = np.random.default_rng(1)
    held = 0
    for _ in range(400):
        found = difference(*simulate(generator, 0.05), draws=500)
        held += found["low"] < 0.05 < found["high"]
    assert 0.92 < held / 400 < 0.99


def test_the_mean_over_sets_by_hand():
    """Of gaps .11 (.10, .12) and -.01 (.01, -.03) by seed: .055 and .045; t = .05 / .005."""
    unions = np.full((2, 1), 100)
    first, second = ([[60], [62]], [[50], [50]]), ([[51], [47]], [[50], [50]])
    pairs = [tuple(Counts(np.array(arm), unions) for arm in arms) for arms in (first, second)]
    found = mean_difference(pairs)
    assert found["mean"] == pytest.approx(0.05)
    assert found["t"] == pytest.approx(10.0)
    with pytest.raises(ValueError, match="not paired"):
        mean_difference([pairs[0], (Counts(np.ones((2, 3)), np.ones((2, 3))),) * 2])
    with pytest.raises(ValueError, match="not paired"):
        mean_difference([])


def test_one_set_in_two_states_is_drawn_once():
    """The same scenes twice say no more than once; other scenes do."""
    generator = np.random.default_rng(4)
    own, other = simulate(generator, 0.1, seeds=1, scenes=200)
    widths = []
    for second in ((own, other), simulate(generator, 0.1, seeds=1, scenes=200)):
        found = mean_difference([(own, other), tuple(second)])
        widths.append(found["high"] - found["low"])
    once = difference(own, other)
    assert widths[0] == pytest.approx(once["high"] - once["low"])
    assert widths[1] == pytest.approx(widths[0] / 2**0.5, rel=0.15)


def test_an_effect_of_scenes_does_not_average_out_over_seeds():
    """An arm that is better on half of the scenes and worse on the others, the same under every seed."""
    generator = np.random.default_rng(2)
    gaps = generator.choice([-300, 300], 40)
    unions = np.full((5, 40), 1000)
    own, other = Counts(np.tile(500 + gaps, (5, 1)), unions), Counts(np.full((5, 40), 500), unions)
    found = difference(own, other)
    assert found["high"] - found["low"] > 3 * 0.3 / 40**0.5


def test_one_seed_has_an_interval_over_scenes_and_no_test():
    own, other = simulate(np.random.default_rng(3), 0.1, seeds=1, scenes=200)
    found = difference(own, other)
    assert found["t"] is None
    assert found["p"] is None
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * 0.1 * 2**0.5 / 200**0.5, rel=0.2)


def test_a_paired_t_is_the_textbook_s():
    """Differences .054, .020 and .009 have t = 2.04 and p = .18."""
    t, p = paired_t(np.array([0.054, 0.020, 0.009]))
    assert t == pytest.approx(2.043, abs=1e-3)
    assert p == pytest.approx(0.178, abs=1e-3)
    assert paired_t(np.array([0.1, 0.1])) == (np.inf, 0.0)


def test_holm_by_hand():
    """.01 * 4, .02 * 3 and .03 * 2 (raised to the .06 before it), .5 * 1."""
    assert holm([0.03, 0.01, None, 0.5, 0.02]) == pytest.approx([0.06, 0.04, None, 0.5, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_unpaired_arms_are_refused():
    one, other = Counts(np.ones((2, 3)), np.ones((2, 3))), Counts(np.ones((2, 4)), np.ones((2, 4)))
    with pytest.raises(ValueError, match="not paired"):
        difference(one, other)
    with pytest.raises(ValueError, match="seeds by scenes"):
        Counts(np.ones((2, 3)), np.ones((2, 4)))
