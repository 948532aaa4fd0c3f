"""Linear probes on data whose answer is known."""

import pytest
import torch

from desa2va.eval.probe.linear import (
    fit_discriminant,
    fit_ridge,
    probe_classes,
    probe_values,
    without_class_means,
)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


@pytest.fixture
def halves():
    """400 rows of 100 scenes; even scenes to fit."""
    scene = torch.arange(400) // 4
    return scene, scene % 2 == 0


def test_ridge_by_hand():
    """x = -1, 1 and y = 1, 5 around their means 0 and 3: covariance 1, slope 2; a penalty of 1 halves the slope."""
    features, targets = torch.tensor([[-1.0], [1.0]]), torch.tensor([[1.0], [5.0]])
    assert fit_ridge(features, targets, 0.0)(torch.tensor([[2.0]])).item() == pytest.approx(7)
    assert fit_ridge(features, targets, 1.0)(torch.tensor([[2.0]])).item() == pytest.approx(5)


def test_a_class_between_two_others_is_found():
    """Regression on indicators never answers with the middle one of three classes on a line."""
    classes = torch.arange(300) % 3
    features = 10.0 * classes[:, None] + draw(300, 1)
    assert (fit_discriminant(features, classes, 1e-3)(features) == classes).double().mean() > 0.99


def test_rare_classes_count_like_frequent_ones(halves):
    """With one class in twenty the majority's answer scores 0.95 on plain accuracy; here it scores a half."""
    scene, fit = halves
    classes = (torch.arange(400) % 20 == 0).long()
    told = probe_classes(3 * classes[:, None] + draw(400, 2), classes, scene, fit, 0)
    assert told["constant"] == 0.5
    assert told["balanced_accuracy"] > 0.85
    untold = probe_classes(draw(400, 5, seed=1), classes, scene, fit, 0)
    assert abs(untold["balanced_accuracy"] - 0.5) < 4 * max(untold["se"], 0.05)


def test_linear_values_are_told_and_noise_is_not(halves):
    """On 100-dimensional noise 200 rows can be fitted by heart; the held-out score must not be fooled, nor the
    penalty be too small."""
    scene, fit = halves
    features = draw(400, 100)
    told = probe_values(features, features[:, 3] - 2 * features[:, 5], scene, fit, 0)
    assert told["r2"] > 0.95
    untold = probe_values(features, draw(400, seed=5), scene, fit, 0)
    assert -0.15 < untold["r2"] < 0.1
    assert untold["penalty"] == 100.0


def test_what_only_the_scene_tells_is_not_told(halves):
    """Rows of one scene share their value and their own direction: a split by rows would find it, one by scenes can
    not."""
    scene, fit = halves
    features = draw(100, 60)[scene] + 0.01 * draw(400, 60, seed=2)
    found = probe_values(features, draw(100, seed=3)[scene], scene, fit, 0)
    assert found["r2"] < 0.1


def test_several_columns_are_scored_by_variance(halves):
    """A column of variance 1 that is told and one of variance 9 that is not: a tenth."""
    scene, fit = halves
    features = draw(400, 2)
    values = torch.stack([features[:, 0], 3 * draw(400, seed=4)], dim=1)
    assert probe_values(features, values, scene, fit, 0)["r2"] == pytest.approx(0.1, abs=0.04)


def test_rows_without_a_value_are_left_out(halves):
    """The angle of a circle is NaN; one of them must not turn the figure into NaN."""
    scene, fit = halves
    features = draw(400, 3)
    values = features[:, 0].clone()
    values[::7] = float("nan")
    assert probe_values(features, values, scene, fit, 0)["r2"] > 0.99


def test_nothing_to_tell_is_none(halves):
    """One class, or values that do not vary, have no score rather than an error or a perfect one."""
    scene, fit = halves
    assert probe_classes(draw(400, 3), torch.zeros(400, dtype=torch.long), scene, fit, 0) is None
    assert probe_values(draw(400, 3), torch.ones(400), scene, fit, 0) is None
    only_held_out = (~fit).long() * 2
    assert probe_classes(draw(400, 3), only_held_out, scene, fit, 0) is None


def test_class_means_come_from_the_fit_half():
    """Values 1, 3 | 10 of one class: its mean is 2; a class never seen loses the mean of all that was fitted."""
    values, classes = torch.tensor([1.0, 3.0, 10.0, 8.0]), torch.tensor([0, 0, 0, 1])
    fit = torch.tensor([True, True, False, False])
    assert without_class_means(values, classes, fit).tolist() == [-1.0, 1.0, 8.0, 6.0]


def test_constant_coordinates_do_no_harm(halves):
    """A dead unit has no deviation to divide by."""
    scene, fit = halves
    features = torch.cat([draw(400, 2), torch.ones(400, 1)], dim=1)
    assert probe_values(features, features[:, 0], scene, fit, 0)["r2"] > 0.99
