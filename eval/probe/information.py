"""Mutual information of h_t and h_v by an estimator that was not trained: Kraskov, Stögbauer and Grassberger's first.

Pairs of features enter, nats leave. CLUB (paper section 3.2, Eq. 5, 6) is both the loss and the thermometer of
training; this is a second thermometer. Nearest neighbours in few dimensions need no fit, but not many dimensions
either, so the estimate is taken on leading principal components: a lower bound of what the whole features share, as
far as the estimator is right. It is shown beside the same estimate on shuffled pairs, which share nothing.
"""

from __future__ import annotations

from typing import Any

import torch

NEIGHBOURS = 3
DIMENSIONS = (1, 2, 3, 5)
SHUFFLES = 20
PARTS = 5
PARTITIONS = 4
_ROWS = 512


def ksg(first: torch.Tensor, second: torch.Tensor, neighbours: int = NEIGHBOURS) -> float:
    """Estimator 1 of Kraskov et al. (2004) with the maximum norm, by brute force.

    `psi(k) + psi(N) - <psi(n_1 + 1) + psi(n_2 + 1)>`, where n counts the points that are strictly closer than the k-th
    neighbour in the joint space. A point with at least k exact copies has no such distance; there the copies
    themselves are counted (`psi(c_12) - psi(c_1) - psi(c_2)`, c with the point itself), which is exact for discrete
    values.

    Args:
        first: (N, D1). second: (N, D2), of about the same spread: the larger one alone would decide who is near.
        neighbours: k.

    Returns:
        Nats; below zero by chance where nothing is shared.

    Raises:
        ValueError: not pairs, or no more points than neighbours.
    """
    count = len(first)
    if len(second) != count or not 1 <= neighbours < count:
        raise ValueError(f"KSG needs pairs and more than {neighbours} of them, got {count} and {len(second)}")
    first, second = first.double(), second.double()
    total = 0.0
    for start in range(0, count, _ROWS):
        rows = slice(start, start + _ROWS)
        near_first, near_second = _distances(first[rows], first), _distances(second[rows], second)
        joint = torch.maximum(near_first, near_second)
        # The point itself is at distance zero, so the k-th neighbour is the (k + 1)-th smallest.
        reach = joint.kthvalue(neighbours + 1, dim=1).values[:, None]
        strict = [(near < reach).sum(dim=1).clamp(min=1) for near in (near_first, near_second)]
        copies = [(near == 0).sum(dim=1) for near in (joint, near_first, near_second)]
        tied = reach[:, 0] == 0
        inner = torch.where(tied, copies[0], neighbours)
        outer = [torch.where(tied, copies[1 + side], strict[side]) for side in (0, 1)]
        total += float((_psi(inner) - _psi(outer[0]) - _psi(outer[1])).sum())
    return total / count + float(_psi(torch.tensor(count)))


def _distances(some: torch.Tensor, all_points: torch.Tensor) -> torch.Tensor:
    """(n, D), (N, D) -> (n, N) in the maximum norm, without a tensor of n x N x D."""
    result = some.new_zeros(len(some), len(all_points))
    for column in range(some.shape[1]):
        torch.maximum(result, (some[:, column, None] - all_points[None, :, column]).abs(), out=result)
    return result


def _psi(counts: torch.Tensor) -> torch.Tensor:
    return torch.digamma(counts.double())


def principal_components(features: torch.Tensor, count: int) -> tuple[torch.Tensor, float]:
    """Leading principal components.

    Args:
        features: (n, D). count: how many; fewer come back where the features have fewer directions.

    Returns:
        (n, count) scores of unit variance, and the share of the variance they hold. Signs are fixed: the largest
        loading of a component is positive.
    """
    rows = features - features.mean(dim=0)
    variance, directions = torch.linalg.eigh(rows.T @ rows / len(rows))
    variance, directions = variance.flip(0).clamp(min=0), directions.flip(1)
    kept = min(count, int((variance > 1e-12 * variance[0]).sum()))
    directions = directions[:, :kept]
    largest = directions.abs().argmax(dim=0)
    directions = directions * directions[largest, torch.arange(kept)].sign()
    share = float(variance[:kept].sum() / variance.sum()) if kept else 0.0
    return rows @ directions / variance[:kept].sqrt(), share


def measure_information(
    first: torch.Tensor, second: torch.Tensor, scene: torch.Tensor, seed: int, dimensions: tuple[int, ...] = DIMENSIONS
) -> dict[str, Any]:
    """KSG on the leading d components of both, with its baseline and error, for several d.

    Args:
        first: (n, D). second: (n, D). scene: (n,) long; rows of a scene stay together. seed: of all draws.
        dimensions: the d to report.

    Returns:
        d as text -> `nats`; `se`, from estimates on disjoint fifths of the scenes, whose variance falls as 1 / n;
        `shuffled`, `shuffled_deviation`: mean and deviation over shuffled pairs; `p`: share of shuffles (the estimate
        counted as one) that reach the estimate; `variance_first`, `variance_second`: share held by d components.
    """
    report = {}
    for count in dimensions:
        generator = torch.Generator().manual_seed(seed)
        one, share_one = principal_components(first, count)
        two, share_two = principal_components(second, count)
        if min(one.shape[1], two.shape[1]) < count:
            continue
        nats = ksg(one, two)
        shuffles = [ksg(one, two[torch.randperm(len(two), generator=generator)]) for _ in range(SHUFFLES)]
        shuffled = torch.tensor(shuffles)
        report[str(count)] = {
            "nats": nats,
            "se": _subsampling_error(one, two, scene, generator),
            "shuffled": float(shuffled.mean()),
            "shuffled_deviation": float(shuffled.std()),
            "p": (1 + int((shuffled >= nats).sum())) / (1 + SHUFFLES),
            "variance_first": share_one,
            "variance_second": share_two,
        }
    return report


def _subsampling_error(
    first: torch.Tensor, second: torch.Tensor, scene: torch.Tensor, generator: torch.Generator
) -> float | None:
    """Deviation over disjoint parts of the scenes, scaled to all of them; `None` where the parts are too small."""
    numbers, row = scene.unique(return_inverse=True)
    variances = []
    for _ in range(PARTITIONS):
        part = (torch.randperm(len(numbers), generator=generator) % PARTS)[row]
        if int(part.bincount(minlength=PARTS).min()) <= 2 * NEIGHBOURS:
            return None
        estimates = [ksg(first[part == number], second[part == number]) for number in range(PARTS)]
        variances.append(torch.tensor(estimates).var())
    return float((torch.stack(variances).mean() / PARTS).sqrt())


__all__ = ["DIMENSIONS", "NEIGHBOURS", "ksg", "measure_information", "principal_components"]
