"""Features at mean 0 and variance 1 in every dimension, by running statistics.

What enters: rows (N, C) and, once per step, the rows of all processes. What leaves: the standardised rows. A LayerNorm
divides by what a row has beside its information, a constant offset for one, so a model could hide its features behind
an offset; moments over rows take offset and scale out whatever they are.
"""

import torch
from torch import Tensor, nn

HORIZON = 128  # rows after which an old row counts 1/e: enough for a variance, and soon behind features that move
FLOOR = 1e-6  # least variance of a dimension, as a part of the mean over dimensions: rounding, not information


class RunningStandardisation(nn.Module):
    """Standardises rows with exponential means over about `HORIZON` rows, exact means before that.

    The statistics are buffers: they belong to the state dict, and a resumed training continues with them.

    Their *values* are running, for a device sees few rows a step; their *gradient* is that of the batch, as if its
    rows were the population. Without it a loss could fall by shrinking features faster than the statistics follow,
    and would pull at the scale for ever. A row does not count towards the statistics that standardise it: in a batch
    of O rows that would take 1 / O of every gradient away, and all of it from a single row. A single row therefore
    sees constants.

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
        return int(self.count) > 1

    @torch.no_grad()
    def observe(self, rows: Tensor) -> None:
        """Takes rows into the statistics; under data parallelism those of all processes, the same on each.

        Args:
            rows: `(N, C)`; N may be 0.
        """
        if len(rows) == 0:
            return
        rows = rows.to(self.mean)
        self.count += len(rows)
        share = max(len(rows) / int(self.count), 1.0 - (1.0 - 1.0 / HORIZON) ** len(rows))
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
        mean, variance = self.mean.to(rows.dtype), self.variance.to(rows.dtype)
        variance = variance.clamp(min=FLOOR * float(variance.mean()))
        centred = rows - mean
        if len(rows) > 1 and rows.requires_grad:
            mean = mean + _gradient_only(_mean_of_others(rows))
            variance = variance + _gradient_only(_mean_of_others(centred.square()))
        return (rows - mean) / (variance + torch.finfo(torch.float32).tiny).sqrt()


def _mean_of_others(rows: Tensor) -> Tensor:
    """For every row the mean of all other rows."""
    return (rows.sum(0) - rows) / (len(rows) - 1)


def _gradient_only(value: Tensor) -> Tensor:
    """A zero with the gradient of `value`."""
    return value - value.detach()


__all__ = ["RunningStandardisation"]
