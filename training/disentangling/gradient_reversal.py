"""Gradient reversal (paper section 3.2, "adversarial training").

What enters: features. What leaves: the same features; on the way back their gradient is multiplied by `-strength`, or
by `strength` where the loss behind it is already the model's own. The strength is warmed up, so that early, random
discriminators do not steer the decoupling, and may be annealed to zero.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

ANNEALING = ("none", "linear", "cosine")


class GradientScaling(torch.autograd.Function):
    """Identity forwards, `factor` times the gradient backwards."""

    @staticmethod
    def forward(ctx, features: Tensor, factor: float) -> Tensor:
        """Returns `features` unchanged and remembers the factor."""
        ctx.factor = factor
        return features.view_as(features)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        """Returns the scaled gradient of the features."""
        return ctx.factor * gradient, None


def scale_gradient(features: Tensor, factor: float) -> Tensor:
    """Returns `features`, of any shape, whose gradient will be multiplied by `factor`; 0 cuts it to exact zeros."""
    return GradientScaling.apply(features, float(factor))


def reverse_gradient(features: Tensor, strength: float = 1.0) -> Tensor:
    """Returns `features`, whose gradient will be multiplied by `-strength`.

    Args:
        features: any shape.
        strength: not negative; 0 cuts the gradient to exact zeros.
    """
    return scale_gradient(features, -float(strength))


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


@dataclass(frozen=True)
class AdversarialSchedule:
    """Strength of the adversarial gradient over a training: nothing, warm-up, full, and where wanted back to nothing.

    Attributes:
        start: steps without any adversarial gradient, while the discriminators already learn.
        warmup_steps: from `start` to full strength, see `adversarial_strength`.
        anneal: `"none"`, `"linear"` or `"cosine"`: how the strength returns to zero.
        anneal_steps: last steps over which it does; 0: from `start` to the end.
    """

    start: int = 0
    warmup_steps: int = 500
    anneal: str = "none"
    anneal_steps: int = 0

    def __post_init__(self) -> None:
        if self.anneal not in ANNEALING:
            raise ValueError(f"adversarial_anneal={self.anneal!r} is unknown; choose one of {', '.join(ANNEALING)}")
        if min(self.start, self.warmup_steps, self.anneal_steps) < 0:
            raise ValueError(f"steps of the adversarial schedule must not be negative, got {self}")

    def strength(self, step: int, total_steps: int) -> float:
        """Strength in [0, 1] at a step of `total_steps`; exactly 0 before `start`, and at the last step of an
        annealed training.
        """
        if step < self.start:
            return 0.0
        rising = adversarial_strength(step - self.start, self.warmup_steps)
        if self.anneal == "none":
            return rising
        span = self.anneal_steps or total_steps - self.start
        left = min(1.0, max(0.0, (total_steps - 1 - step) / max(span, 1)))
        return rising * (left if self.anneal == "linear" else 0.5 - 0.5 * math.cos(math.pi * left))


__all__ = ["ANNEALING", "AdversarialSchedule", "adversarial_strength", "reverse_gradient", "scale_gradient"]
