"""Which samples a gallery shows: the best, those in the middle and the worst by their score.

Enters: samples of a report. Leaves: their places, the same every time. (Engineering; no paper section.)
"""

from __future__ import annotations

from collections.abc import Sequence

GROUPS = ("best", "median", "worst")


def choose_cases(scores: Sequence[float], count: int) -> dict[str, list[int]]:
    """Places of the best, median and worst samples; none is chosen twice.

    Args:
        scores: of every sample, higher is better; equal ones keep their order. count: of each group, at least 1.

    Returns:
        `best` from the best down, `median` and `worst` from the worst up; fewer where there are few samples.
    """
    order = sorted(range(len(scores)), key=lambda place: (scores[place], place))
    count = min(count, max(1, (len(order) + 2) // 3))
    best, rest = order[-count:][::-1], order[:-count]
    worst, rest = rest[:count], rest[count:]
    first = max(0, (len(rest) - count) // 2)
    return {"best": best, "median": rest[first : first + count], "worst": worst}


__all__ = ["GROUPS", "choose_cases"]
