"""A fresh estimate of what two prompts share, to hold against the running one of CLUB (paper section 3.2).

What enters: remembered pairs of text and visual features. What leaves: the part of h_t's variance that a ridge
regression fitted now explains in h_v on pairs it was not fitted to, and CLUB for that Gaussian in closed form. q is
trained step by step behind features that move: its estimate can fall because q lags. A closed form cannot lag.
"""

import math

import torch
from torch import Tensor

LEAST_PAIRS = 64
BLOCKS = 8  # odd ones are held out; neighbours in the queue are about one picture, so single rows would leak
RIDGES = (1e-3, 1e-2, 1e-1, 1.0)  # relative to the variance of a direction of h_v


def _standardised(rows: Tensor, fitted: Tensor) -> Tensor:
    """Rows at the mean and variance of those that `fitted` (N,) marks."""
    known = rows[fitted]
    deviation = known.std(0, unbiased=False)
    return (rows - known.mean(0)) / deviation.clamp(min=1e-3 * float(deviation.mean()) + 1e-30)


@torch.no_grad()
def offline_estimate(h_v: Tensor, h_t: Tensor, log_variance_bound: float) -> dict[str, float]:
    """What h_v tells of h_t by a ridge regression on half of the pairs, measured on the other half.

    Args:
        h_v: `(Q, C)`, in the order in which they came.
        h_t: `(Q, C)`.
        log_variance_bound: of q; variances below `exp(-bound)` count as that, as they do in q.

    Returns:
        `club_offline_r2`: the explained part of the variance, mean over dimensions, of the best of four ridges (below
        zero where nothing is shared, by chance); `club_offline`: `R² / (1 - R²)` in nats per dimension, CLUB's value
        with the true conditional of Gaussians. Nothing while there are fewer than 64 pairs.
    """
    if len(h_v) < LEAST_PAIRS:
        return {}
    block = torch.arange(len(h_v), device=h_v.device) * BLOCKS // len(h_v)
    fitted = block % 2 == 0
    visual, text = (_standardised(rows.double(), fitted) for rows in (h_v, h_t))
    values, vectors = torch.linalg.eigh(visual[fitted].T @ visual[fitted] / fitted.sum())
    moments = vectors.T @ (visual[fitted].T @ text[fitted]) / fitted.sum()
    turned, target = visual[~fitted] @ vectors, text[~fitted]
    explained = []
    for ridge in RIDGES:
        residual = target - turned @ (moments / (values + ridge).unsqueeze(1))
        explained.append(1.0 - residual.square().mean(0) / target.var(0, unbiased=False).clamp(min=1e-12))
    best = max(explained, key=lambda one: float(one.mean()))
    club = best.clamp(min=0.0) / (1.0 - best).clamp(min=math.exp(-log_variance_bound))
    return {"club_offline": float(club.mean()), "club_offline_r2": float(best.mean())}


__all__ = ["offline_estimate"]
