"""The reversal changes gradients and nothing else; its strength warms up."""

import math

import pytest
import torch

from desa2va.training.disentangling.gradient_reversal import (
    AdversarialSchedule,
    adversarial_strength,
    reverse_gradient,
    scale_gradient,
)


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0, 2.5])
def test_gradient_is_minus_strength_times_the_plain_one(strength):
    torch.manual_seed(0)
    features = torch.randn(4, 3, requires_grad=True)
    plain = torch.autograd.grad(features.pow(3).sum(), features)[0]
    reversed_features = reverse_gradient(features, strength)
    assert torch.equal(reversed_features, features)
    assert torch.equal(torch.autograd.grad(reversed_features.pow(3).sum(), features)[0], -strength * plain)


def test_scaling_keeps_the_value_and_the_direction():
    torch.manual_seed(0)
    features = torch.randn(4, 3, requires_grad=True)
    plain = torch.autograd.grad(features.pow(3).sum(), features)[0]
    scaled = scale_gradient(features, 0.3)
    assert torch.equal(scaled, features)
    assert torch.equal(torch.autograd.grad(scaled.pow(3).sum(), features)[0], 0.3 * plain)


def test_reversal_in_half_precision_and_of_nothing():
    features = torch.zeros(0, 3, dtype=torch.bfloat16, requires_grad=True)
    reverse_gradient(features).sum().backward()
    assert features.grad.dtype == torch.bfloat16


def test_strength_warms_up_from_zero_to_one():
    """Half-way: 2 / (1 + e^-5) - 1 = 0.98661."""
    values = [adversarial_strength(step, 100) for step in range(120)]
    assert values[0] == 0.0
    assert values[50] == pytest.approx(0.986614, abs=1e-6)
    assert values == sorted(values)
    assert set(values[100:]) == {1.0}
    assert adversarial_strength(0, 0) == 1.0


def test_negative_steps_are_named():
    with pytest.raises(ValueError, match="negative"):
        adversarial_strength(-1, 10)


def test_a_later_start_is_exactly_nothing_before_it():
    """Half a strength at step 99 would steer the decoupling by discriminators nobody meant to ask yet."""
    schedule = AdversarialSchedule(start=100, warmup_steps=50)
    assert {schedule.strength(step, 1000) for step in range(101)} == {0.0}
    assert schedule.strength(125, 1000) == adversarial_strength(25, 50)
    assert schedule.strength(150, 1000) == 1.0


@pytest.mark.parametrize(("kind", "half"), [("linear", 0.5), ("cosine", 0.5)])
def test_annealing_ends_at_zero(kind, half):
    """METHOD's phase 3: the last step has no adversarial gradient; before the last steps nothing changes."""
    schedule = AdversarialSchedule(warmup_steps=0, anneal=kind, anneal_steps=100)
    values = [schedule.strength(step, 501) for step in range(501)]
    assert set(values[:401]) == {1.0}
    assert values[450] == pytest.approx(half)
    assert values[500] == 0.0
    assert values == sorted(values, reverse=True)
    quarter = 0.75 if kind == "linear" else 0.5 - 0.5 * math.cos(0.75 * math.pi)
    assert values[425] == pytest.approx(quarter)


def test_annealing_spans_the_whole_game_by_default():
    schedule = AdversarialSchedule(start=100, warmup_steps=0, anneal="linear")
    assert schedule.strength(99, 301) == 0.0
    assert schedule.strength(200, 301) == pytest.approx(100 / 201)
    assert schedule.strength(300, 301) == 0.0
    assert AdversarialSchedule(warmup_steps=0).strength(300, 301) == 1.0


def test_unknown_annealing_and_negative_steps_are_named():
    with pytest.raises(ValueError, match="quadratic"):
        AdversarialSchedule(anneal="quadratic")
    with pytest.raises(ValueError, match="start=-1"):
        AdversarialSchedule(start=-1)
