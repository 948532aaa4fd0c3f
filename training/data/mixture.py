"""Several data sets as one, in exact shares.

Enters: map-style data sets of `Sample`s and their shares. Leaves: one map-style data set, the same for every process,
worker and resumed run: what index i of an epoch is, follows from (seed, epoch, i) alone. Nothing is left to chance but
the order: every part has its share of an epoch to one sample, and of any stretch of it to about one; and every sample
of a part comes as often as any other, to one time. To be read in order, see `sampling.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .sample import Sample


class Mixture:
    """`mixture[i]` is a sample of one of the parts; the order of an epoch is that of the indices.

    Args:
        parts: map-style data sets with `set_epoch`; one that is shorter than needed is read again, as another epoch
            of its own, so that it draws anew what it draws.
        shares: how often each is drawn, > 0, in any unit.
        length: number of samples of an epoch. seed: another seed gives another order.

    Raises:
        ValueError: no parts, another number of shares, a share that is not positive, or an empty part.
    """

    def __init__(self, parts: Sequence, shares: Sequence[float], length: int, seed: int = 0) -> None:
        if not parts or len(parts) != len(shares) or not min(shares) > 0 or not all(map(len, parts)):
            raise ValueError(
                f"a mixture needs parts with samples and one positive share for each, got {len(parts)} parts and "
                f"shares {list(shares)}"
            )
        self.parts = list(parts)
        self.counts = exact_counts(shares, length)
        self.length, self.seed, self.epoch = length, seed, 0
        self._order: np.ndarray | None = None
        self._passes: dict[tuple[int, int], np.ndarray] = {}

    def set_epoch(self, epoch: int) -> None:
        """Another epoch has another order; every part goes on where the last one left it."""
        if epoch != self.epoch:
            self.epoch, self._order = epoch, None

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        """The sample at `index`; raises `IndexError` outside the mixture."""
        number, place, passed = self.locate(index)
        part = self.parts[number]
        part.set_epoch(passed)
        return part[place]

    def locate(self, index: int) -> tuple[int, int, int]:
        """Of the sample at `index` the part, the place in it, and how often the part has been read before."""
        if not 0 <= index < self.length:
            raise IndexError(f"index {index} is outside a mixture of length {self.length}")
        if self._order is None:
            self._order = schedule(self.counts, np.random.default_rng((self.seed, self.epoch)))
        ends = np.cumsum(self.counts)
        flat = int(self._order[index])
        number = int(np.searchsorted(ends, flat, side="right"))
        turn = flat - int(ends[number] - self.counts[number]) + self.epoch * int(self.counts[number])
        passed, turn = divmod(turn, len(self.parts[number]))
        return number, int(self._pass(number, passed)[turn]), passed

    def _pass(self, number: int, passed: int) -> np.ndarray:
        """The order in which a part is read for the `passed`-th time."""
        key = (number, passed)
        if key not in self._passes:
            # An epoch is read from its beginning to its end: what lies two passes back is not needed again.
            self._passes = {
                old: kept for old, kept in self._passes.items() if old[0] != number or old[1] == passed - 1
            }
            rng = np.random.default_rng((self.seed, number, passed))
            self._passes[key] = rng.permutation(len(self.parts[number]))
        return self._passes[key]


def exact_counts(shares: Sequence[float], length: int) -> np.ndarray:
    """How many of `length` samples each share is worth, long (parts,): rounded so that they add up."""
    exact = np.asarray(shares, float) / sum(shares) * length
    counts = np.floor(exact).astype(int)
    missing = length - int(counts.sum())
    counts[np.argsort(counts - exact, kind="stable")[:missing]] += 1
    return counts


def schedule(counts: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    """The order of an epoch, long (sum of counts,): sample j of part k is number j + (counts of the parts before k).

    Sample j of n lies at a drawn point of the j-th of n equal stretches of the epoch: any stretch of it holds a part's
    share to about one sample, without a rhythm that a number of processes could fall into step with.
    """
    points = [(np.arange(count) + rng.random(count)) / max(count, 1) for count in counts]
    return np.argsort(np.concatenate(points), kind="stable")


def part_weights(
    parts: Sequence, shares: Sequence[float | None], repeats: Sequence[float | None], temperature: float = 1.0
) -> list[float]:
    """Shares of the parts of a mixture, in any unit.

    Args:
        parts: data sets. shares: how often each is drawn; 1 where nothing is said.
        repeats: or, where any is given, how often each is read in an epoch (once where nothing is said).
        temperature: weight w counts `w ** (1 / temperature)`: above 1 small parts are drawn more often than their
            weight says, without bound all equally.
    """
    if any(value is not None for value in repeats):
        weights = [len(part) * (1.0 if value is None else value) for part, value in zip(parts, repeats, strict=True)]
    else:
        weights = [1.0 if value is None else value for value in shares]
    return [weight ** (1 / temperature) for weight in weights]


__all__ = ["Mixture", "exact_counts", "part_weights", "schedule"]
