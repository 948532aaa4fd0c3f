"""Several data sets as one, in fixed shares.

Enters: map-style data sets of `Sample`s and their shares. Leaves: one map-style data set, the same for every process
and worker: which part index i of an epoch comes from is drawn from (seed, epoch, i) alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .sample import Sample


class Mixture:
    """`mixture[i]` is a sample of one of the parts.

    Args:
        parts: map-style data sets; a part that is shorter than needed is read again. shares: how often each is
            drawn, > 0.
        length: number of samples. seed: another seed gives another order.

    Raises:
        ValueError: no parts, another number of shares, or a share that is not positive.
    """

    def __init__(self, parts: Sequence, shares: Sequence[float], length: int, seed: int = 0) -> None:
        if not parts or len(parts) != len(shares) or min(shares) <= 0:
            raise ValueError(
                f"a mixture needs parts and one positive share for each, got {len(parts)} and {list(shares)}"
            )
        self.parts = list(parts)
        self.edges = np.cumsum(np.asarray(shares, float) / sum(shares))
        self.length, self.seed, self.epoch = length, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Another epoch draws the parts anew, and each of them is in its own epoch of that number."""
        self.epoch = epoch
        for part in self.parts:
            part.set_epoch(epoch)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        """The sample at `index`; raises `IndexError` outside the mixture."""
        if not 0 <= index < self.length:
            raise IndexError(f"index {index} is outside a mixture of length {self.length}")
        key = [self.seed, index] if self.epoch == 0 else [self.seed, index, self.epoch]
        point = np.random.default_rng(key).random()
        part = self.parts[min(int(np.searchsorted(self.edges, point, side="right")), len(self.parts) - 1)]
        return part[index % len(part)]


__all__ = ["Mixture"]
