"""Does a score tell what went wrong from what went right?

One score per answer and whether the answer was wrong enter; the area under the receiver operating characteristic
(AUROC) and its interval leave. (The paper measures no such thing.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

RESAMPLES = 2000


def auroc(scores: Sequence[float] | np.ndarray, positives: Sequence[bool] | np.ndarray) -> float | None:
    """Probability that a positive has a higher score than a negative; of equal scores half.

    Args:
        scores: one per unit. positives: likewise.

    Returns:
        In [0, 1], 0.5 where the score tells nothing; `None` where all are positive, or none.

    Raises:
        ValueError: lists of different lengths.
    """
    values, chosen = np.asarray(scores, np.float64), np.asarray(positives, bool)
    if values.shape != chosen.shape:
        raise ValueError(f"{len(values)} scores for {len(chosen)} units; they must agree")
    above, below = int(chosen.sum()), int((~chosen).sum())
    if not above or not below:
        return None
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (counts.cumsum() - (counts - 1) / 2)[place]  # equal scores share the middle of their ranks
    return float((ranks[chosen].sum() - above * (above + 1) / 2) / (above * below))


def compare_auroc(
    scores: Mapping[str, Sequence[float]], positives: Sequence[bool], seed: int = 0
) -> dict[str, dict[str, float]]:
    """AUROC of one or two scores of the same units, and of two their difference, with 95 % bootstrap intervals.

    Args:
        scores: name -> one value per unit. With two, `difference` is the first minus the second, drawn in pairs.
        positives: which units are to have high scores.
        seed: of the resampling.

    Returns:
        Name -> `auroc`, `low`, `high`; nothing where all units are positive, or none. Resamples of one kind only are
        left out.
    """
    chosen = np.asarray(positives, bool)
    columns = {name: np.asarray(values, np.float64) for name, values in scores.items()}
    found = {name: auroc(values, chosen) for name, values in columns.items()}
    if any(value is None for value in found.values()):
        return {}
    rng = np.random.default_rng(seed)
    drawn: dict[str, list[float]] = {name: [] for name in columns}
    for _ in range(RESAMPLES):
        rows = rng.integers(0, len(chosen), len(chosen))
        if chosen[rows].all() or not chosen[rows].any():
            continue
        for name, values in columns.items():
            drawn[name].append(auroc(values[rows], chosen[rows]))
    if len(columns) == 2:
        first, second = columns
        found["difference"] = found[first] - found[second]
        drawn["difference"] = list(np.subtract(drawn[first], drawn[second]))
    ends = {name: np.percentile(values, (2.5, 97.5)).tolist() for name, values in drawn.items()}
    return {name: {"auroc": value, "low": ends[name][0], "high": ends[name][1]} for name, value in found.items()}


__all__ = ["RESAMPLES", "auroc", "compare_auroc"]
