"""Is one arm better than another? Differences of cIoU, paired by seed and by scene, with what is known of their error.

Enters: intersections and unions of every scene under every seed. Leaves: a difference with its interval, a p-value,
and the p-values of a family corrected for its size. (The paper prints single runs; Holm 1979; Hesterberg 2015.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.95


@dataclass(frozen=True)
class Counts:
    """Pixels of one arm on one set of scenes.

    Attributes:
        intersections, unions: (S, N) int: seeds by scenes; every seed and every arm answers the same scenes.

    Raises:
        ValueError: the two have other shapes, or no seed or no scene.
    """

    intersections: np.ndarray
    unions: np.ndarray

    def __post_init__(self) -> None:
        if self.intersections.shape != self.unions.shape or self.unions.ndim != 2 or not self.unions.size:
            raise ValueError(
                f"intersections {self.intersections.shape} and unions {self.unions.shape} must both be seeds by scenes"
            )

    def ciou(self) -> np.ndarray:
        """(S,) sum of intersections over sum of unions, of each seed."""
        return _ratio(self.intersections.sum(axis=1), self.unions.sum(axis=1))


Pair = tuple[Counts, Counts]


def difference(own: Counts, other: Counts, draws: int = 2000, seed: int = 0) -> dict[str, float | int | None]:
    """By how much `own` is better, and how sure that is.

    A bootstrap in two levels, drawn with replacement: seeds, and scenes. The scenes of a draw are the same for all
    seeds and both arms, since they were the same when measured: drawn for each seed alone, a scene that suits one arm
    under every seed would average out. The deviations of both levels are added; those of seeds are stretched by what
    Student's t and the variance of S seeds ask for (percentiles of five are too narrow). Noise of single answers is
    in both levels, so the interval is a little too wide rather than too narrow.

    Args:
        own, other: the same seeds and scenes in the same order. draws: of the bootstrap. seed: of its generator.

    Returns:
        `mean`: mean over seeds of the difference of cIoU. `low`, `high`: 95 % interval. `t`, `p`: paired t-test over
        seeds; `None` with one seed. `n`: seeds.

    Raises:
        ValueError: other seeds or scenes.
    """
    return mean_difference([(own, other)], draws, seed)


def mean_difference(pairs: Sequence[Pair], draws: int = 2000, seed: int = 0) -> dict[str, float | int | None]:
    """The same of the mean over several sets of scenes.

    A draw takes the scenes of the same numbers from every set: sets may be one set of scenes in several states.

    Args:
        pairs: per set both arms; the same seeds, and as many scenes, in all.

    Raises:
        ValueError: other seeds or scenes, or no set.
    """
    shapes = sorted({counts.unions.shape for pair in pairs for counts in pair})
    if len(shapes) != 1:
        raise ValueError(f"arms and sets have {shapes} seeds by scenes: not paired")
    gaps = np.mean([own.ciou() - other.ciou() for own, other in pairs], axis=0)
    low, high = _interval(pairs, gaps, draws, seed)
    t, p = paired_t(gaps)
    return {"mean": float(gaps.mean()), "low": low, "high": high, "t": t, "p": p, "n": len(gaps)}


def _interval(pairs: Sequence[Pair], gaps: np.ndarray, draws: int, seed: int) -> tuple[float, float]:
    num_seeds, num_scenes = pairs[0][0].unions.shape
    generator = np.random.default_rng(seed)
    times = generator.multinomial(num_scenes, np.full(num_scenes, 1 / num_scenes), size=draws).T.astype(float)
    by_scenes = np.zeros(draws)
    for pair in pairs:
        for counts, sign in zip(pair, (1, -1), strict=True):
            drawn = _ratio(counts.intersections @ times, counts.unions @ times).mean(axis=0)
            by_scenes += sign * drawn / len(pairs)
    by_seeds = gaps[generator.integers(num_seeds, size=(draws, num_seeds))].mean(axis=1)
    means = by_scenes + _stretch(num_seeds) * (by_seeds - gaps.mean())
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _stretch(num_seeds: int) -> float:
    """Of a percentile interval over a few draws (Hesterberg 2015); a single seed does not vary."""
    if num_seeds == 1:
        return 1.0
    tail = (1 + LEVEL) / 2
    return math.sqrt(num_seeds / (num_seeds - 1)) * float(stats.t.ppf(tail, num_seeds - 1) / stats.norm.ppf(tail))


def paired_t(gaps: np.ndarray) -> tuple[float | None, float | None]:
    """Student's t and its two-sided p-value for differences of pairs (S,); `None` with fewer than two.

    Differences that are all the same have no error: p is 1 where they are zero, else 0.
    """
    if len(gaps) < 2:
        return None, None
    error = gaps.std(ddof=1) / math.sqrt(len(gaps))
    if error == 0:
        return (0.0, 1.0) if gaps[0] == 0 else (math.copysign(math.inf, gaps[0]), 0.0)
    t = float(gaps.mean() / error)
    return t, float(2 * stats.t.sf(abs(t), len(gaps) - 1))


def holm(p_values: list[float | None]) -> list[float | None]:
    """P-values of one family, corrected so that the chance of any false finding in it is the stated one.

    Args:
        p_values: in any order; `None` stays and is not counted.
    """
    known = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    least = 0.0
    for rank, (p, place) in enumerate(known):
        least = max(least, min(p * (len(known) - rank), 1.0))
        corrected[place] = least
    return corrected


def _ratio(intersections: np.ndarray, unions: np.ndarray) -> np.ndarray:
    """1 where nothing was and nothing was found."""
    return np.where(unions > 0, intersections / np.maximum(unions, 1), 1.0)


__all__ = ["LEVEL", "Counts", "difference", "holm", "mean_difference", "paired_t"]
