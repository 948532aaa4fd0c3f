"""Features at mean 0 and variance 1 in every dimension, by running statistics.

What enters: rows (N, C) and, once per step, the rows of all processes. What leaves: the standardised rows. A LayerNorm
divides by what a row has beside its information, a constant offset for one, so a model could hide its features behind
an offset; moments over rows take offset and scale out whatever they are.
"""

import torch
from torch import Tensor

from .host_numbers import HostNumbers

HORIZON = 128  # rows after which an old row counts 1/e: enough for a variance, and soon behind features that move
FLOOR = 1e-6  # least variance of a dimension, as a part of the mean over dimensions: rounding, not information


class RunningStandardisation(HostNumbers):
    """Standardises rows with exponential means over about `HORIZON` rows, exact means before that.

    The statistics are buffers: they belong to the state dict, and a resumed training continues with them.

    Their *values* are running, for a device sees few rows a step; their *gradient* is that of a population of which
    every row is one of many (`pull`). Without it a loss could fall by shrinking features faster than the statistics
    follow, and would pull at the scale for ever. How strongly a loss wants the statistics moved is read from
    remembered rows, not from those of a micro-batch: so a row has the same gradient alone and among others.

    Args:
        dim: width C of the rows.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("variance", torch.zeros(dim))
        self.register_buffer("count", torch.zeros((), dtype=torch.long))

    @property
    def ready(self) -> bool:
        """Whether enough rows were seen to have a variance."""
        return self.known("count") > 1

    @torch.no_grad()
    def observe(self, rows: Tensor) -> None:
        """Takes rows into the statistics; under data parallelism those of all processes, the same on each.

        Args:
            rows: `(N, C)`; N may be 0.
        """
        if len(rows) == 0:
            return
        rows = rows.to(self.mean)
        count = self.known("count") + len(rows)
        self.tell("count", count)
        share = max(len(rows) / count, 1.0 - (1.0 - 1.0 / HORIZON) ** len(rows))
        centre = rows.mean(0)
        moved, spread = centre - self.mean, (rows - centre).square().mean(0)
        self.variance.mul_(1.0 - share).add_(share * (spread + (1.0 - share) * moved.square()))
        self.mean.add_(share * moved)

    def forward(self, rows: Tensor) -> Tensor:
        """Standardises rows.

        Args:
            rows: `(N, C)`, float32 or float64.

        Returns:
            `(N, C)`, of mean 0 and variance 1 over the recent past.
        """
        mean, variance = self._moments(rows.dtype)
        return (rows - mean) / variance.sqrt()

    def _moments(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        mean, variance = self.mean.to(dtype), self.variance.to(dtype)
        floor = (FLOOR * variance.mean().double()).to(dtype)
        return mean, variance.clamp(min=floor) + torch.finfo(torch.float32).tiny

    def pull(self, rows: Tensor, remembered: Tensor, gradient: Tensor) -> Tensor:
        """The way of a loss through the statistics, which `forward` takes for constants: a zero with that gradient.

        With z the standardised rows and g the gradient at z, `forward` alone gives a row `g / s`, and this adds
        `-(E[g] + z E[g z]) / s`. It is a mean over rows, so its parts add up however rows are divided.

        Args:
            rows: `(N, C)`, those that learn.
            remembered: `(Q, C)`, samples of the population.
            gradient: `(Q, C)`, of the loss of the samples with regard to them, the statistics being constants.

        Returns:
            Scalar 0.
        """
        mean, variance = self._moments(rows.dtype)
        at_mean = -gradient.sum(0)
        at_variance = -0.5 * (gradient * (remembered - mean)).sum(0) / variance
        moved = (at_mean * rows + at_variance * (rows - mean).square()).sum(1).mean()
        return moved - moved.detach()


__all__ = ["RunningStandardisation"]
