"""The reversal changes gradients and nothing else; its strength warms up."""

import pytest
import torch

from desa2va.training.gradient_reversal import adversarial_strength, reverse_gradient


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0, 2.5])
def test_gradient_is_minus_strength_times_the_plain_one(strength):
    torch.manual_seed(0)
    features = torch.randn(4, 3, requires_grad=True)
    plain = torch.autograd.grad(features.pow(3).sum(), features)[0]
    reversed_features = reverse_gradient(features, strength)
    assert torch.equal(reversed_features, features)
    assert torch.equal(torch.autograd.grad(reversed_features.pow(3).sum(), features)[0], -strength * plain)


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
