"""How alike two representations are: cosine object by object, and linear CKA over all pairs of objects.

Features of the same objects enter, plain figures leave. The cosine asks whether two prompts point the same way; CKA
asks whether two representations find the same objects alike, whatever their axes. (The orthogonality of paper Eq. 7
is about mask tokens; this is about the prompts themselves.)
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


def cosine(first: torch.Tensor, second: torch.Tensor) -> dict[str, float]:
    """Cosine of the rows of (n, C) and (n, C).

    Returns:
        `mean`, `deviation`; `centred_mean`, `centred_deviation`: the same after the mean row is taken off on both
        sides, which leaves what differs from object to object; `mean_absolute_centred`, and `random_absolute`: what
        unrelated directions of this width would give.
    """
    raw = F.cosine_similarity(first, second)
    centred = F.cosine_similarity(first - first.mean(dim=0), second - second.mean(dim=0))
    return {
        "mean": float(raw.mean()),
        "deviation": float(raw.std()),
        "centred_mean": float(centred.mean()),
        "centred_deviation": float(centred.std()),
        "mean_absolute_centred": float(centred.abs().mean()),
        "random_absolute": (2 / torch.pi / first.shape[1]) ** 0.5,
    }


def _unbiased_hsic(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Song et al.'s estimator for linear kernels without their diagonal, from (n, C) features, never forming n x n."""
    count = len(first)
    diagonals = [rows.square().sum(dim=1) for rows in (first, second)]
    sums = [rows @ rows.sum(dim=0) - diagonal for rows, diagonal in zip((first, second), diagonals, strict=True)]
    trace = (first.T @ second).square().sum() - diagonals[0] @ diagonals[1]
    product = sums[0].sum() * sums[1].sum() / ((count - 1) * (count - 2))
    return (trace + product - 2 * (sums[0] @ sums[1]) / (count - 2)) / (count * (count - 3))


def debiased_cka(first: torch.Tensor, second: torch.Tensor) -> float:
    """Linear CKA with the unbiased estimate of each HSIC, about 0 for unrelated representations of any width.

    Args:
        first: (n, C1). second: (n, C2). Rows should be independent observations.

    Returns:
        At most 1 up to noise; below zero by chance; 0 where a representation is constant.

    Raises:
        ValueError: fewer than four rows, or unequal numbers of them.
    """
    if len(first) != len(second) or len(first) < 4:
        raise ValueError(f"CKA needs at least four pairs, got {len(first)} and {len(second)} rows")
    # The estimator ignores a common offset; taking it off first keeps the digits.
    first, second = (rows.double() - rows.double().mean(dim=0) for rows in (first, second))
    own = [_unbiased_hsic(rows, rows) for rows in (first, second)]
    if min(own) <= 0:
        return 0.0
    return float(_unbiased_hsic(first, second) / (own[0] * own[1]).sqrt())


__all__ = ["cosine", "debiased_cka"]
