"""Gradient reversal (paper section 3.2, "adversarial training").

What enters: features. What leaves: the same features; on the way back their gradient is multiplied by `-strength`. The
strength is warmed up, so that early, random discriminators do not steer the decoupling.
"""

import math

import torch
from torch import Tensor


class GradientReversal(torch.autograd.Function):
    """Identity forwards, `-strength` times the gradient backwards."""

    @staticmethod
    def forward(ctx, features: Tensor, strength: float) -> Tensor:
        """Returns `features` unchanged and remembers the strength."""
        ctx.strength = strength
        return features.view_as(features)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        """Returns the reversed gradient of the features."""
        return -ctx.strength * gradient, None


def reverse_gradient(features: Tensor, strength: float = 1.0) -> Tensor:
    """Returns `features`, whose gradient will be multiplied by `-strength`.

    Args:
        features: any shape.
        strength: not negative; 0 cuts the gradient to exact zeros.
    """
    return GradientReversal.apply(features, float(strength))


def adversarial_strength(step: int, warmup_steps: int, steepness: float = 10.0) -> float:
    """Warm-up of the reversal strength: `2 / (1 + exp(-steepness * step / warmup_steps)) - 1`, and 1 afterwards.

    Args:
        step: optimizer steps done, not negative.
        warmup_steps: steps until full strength; 0 switches the warm-up off.
        steepness: of the sigmoid; the schedule of Ganin and Lempitsky uses 10.

    Returns:
        A number in [0, 1], not decreasing with `step`.

    Raises:
        ValueError: for negative steps.
    """
    if step < 0 or warmup_steps < 0:
        raise ValueError(f"steps must not be negative, got step {step} and warmup_steps {warmup_steps}")
    if step >= warmup_steps:
        return 1.0
    return 2.0 / (1.0 + math.exp(-steepness * step / warmup_steps)) - 1.0


__all__ = ["GradientReversal", "adversarial_strength", "reverse_gradient"]
