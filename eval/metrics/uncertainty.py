"""How far a figure may be off because the test set is finite.

Values of the units that were drawn independently (scenes, videos) enter, an estimate and its standard error leave.
Both are deterministic and, since sums are exact, the same in every order of the units. (The paper gives no errors.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def mean_with_error(values: Sequence[float] | np.ndarray) -> tuple[float, float | None]:
    """Mean and its standard error.

    Args:
        values: one per independent unit.

    Returns:
        The mean, and the sample standard deviation over the root of their number; `None` for fewer than two values.

    Raises:
        ValueError: no values.
    """
    array = np.asarray(values, np.float64)
    if not array.size:
        raise ValueError("a mean needs at least one value, got none")
    mean = exact_mean(array)
    if array.size < 2:
        return mean, None
    return mean, math.sqrt(math.fsum(np.square(array - mean)) / (array.size - 1) / array.size)


def exact_mean(values: Sequence[float] | np.ndarray) -> float:
    """Mean by an exactly rounded sum: of at least one value, in any order the same bits."""
    return math.fsum(values) / len(values)


def ratio_with_error(numerators: Sequence[float], denominators: Sequence[float]) -> tuple[float, float | None]:
    """Ratio of two sums and its jackknife standard error.

    The jackknife leaves out one unit at a time; it needs no random numbers and, unlike an error of the mean of ratios,
    respects that units with large denominators weigh more.

    Args:
        numerators: one per independent unit, e.g. pixels in the intersection.
        denominators: likewise, e.g. pixels in the union; not negative.

    Returns:
        The ratio (1 where the denominators sum to 0: nothing to find, nothing claimed) and its standard error, `None`
        for fewer than two units.

    Raises:
        ValueError: no units, or lists of different lengths.
    """
    above, below = np.asarray(numerators, np.float64), np.asarray(denominators, np.float64)
    if above.shape != below.shape or not above.size:
        raise ValueError(f"a ratio needs equally many numerators and denominators, got {above.size} and {below.size}")
    total, whole = math.fsum(above), math.fsum(below)
    ratio = total / whole if whole > 0 else 1.0
    count = above.size
    if count < 2:
        return ratio, None
    rest = whole - below
    without = np.divide(total - above, rest, out=np.ones_like(rest), where=rest > 0)
    return ratio, math.sqrt((count - 1) / count * math.fsum(np.square(without - exact_mean(without))))


__all__ = ["exact_mean", "mean_with_error", "ratio_with_error"]
