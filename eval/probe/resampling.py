"""How far a figure may be off because the scenes are finite: a bootstrap over scenes.

Per-object columns enter, the standard error of a function of their sums leaves. Objects of one scene are drawn
together, since they share picture and words. (The paper gives no errors.)
"""

from __future__ import annotations

from collections.abc import Callable

import torch

RESAMPLES = 200


def scene_sums(columns: torch.Tensor, scene: torch.Tensor) -> torch.Tensor:
    """(n, K) values and (n,) scene numbers -> (scenes, K) sums."""
    _, row = scene.unique(return_inverse=True)
    return columns.new_zeros(int(row.max()) + 1, columns.shape[1]).index_add_(0, row, columns)


def estimate_with_error(
    statistic: Callable[[torch.Tensor], torch.Tensor], columns: torch.Tensor, scene: torch.Tensor, seed: int
) -> tuple[float, float | None]:
    """A figure and its standard error.

    Args:
        statistic: (R, K) sums over objects -> (R,) figures; NaN where a resample does not define one.
        columns: (n, K) float64, one row per object.
        scene: (n,) long.
        seed: of the resampling; the same seed draws the same scenes, whatever is measured.

    Returns:
        The figure on all scenes, and the deviation over resamples, `None` where most of them define no figure.
    """
    sums = scene_sums(columns, scene)
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(len(sums), (RESAMPLES, len(sums)), generator=generator)
    times = torch.zeros(RESAMPLES, len(sums), dtype=sums.dtype)
    times.scatter_add_(1, drawn, torch.ones_like(drawn, dtype=sums.dtype))
    resampled = statistic(times @ sums)
    resampled = resampled[resampled.isfinite()]
    error = float(resampled.std()) if len(resampled) > RESAMPLES // 2 else None
    return float(statistic(sums.sum(dim=0, keepdim=True))), error


def balanced_accuracy(sums: torch.Tensor) -> torch.Tensor:
    """(R, 2 C): right answers per class, then objects per class -> (R,) mean over the classes that occur."""
    right, count = sums.chunk(2, dim=1)
    occurs = count > 0
    return torch.where(occurs, right / count.clamp(min=1), 0.0).sum(dim=1) / occurs.sum(dim=1).clamp(min=1)


def class_columns(predicted: torch.Tensor, truth: torch.Tensor, num_classes: int) -> torch.Tensor:
    """(n,) predicted and true classes -> (n, 2 C) columns of `balanced_accuracy`."""
    member = torch.nn.functional.one_hot(truth, num_classes).double()
    return torch.cat([member * (predicted == truth)[:, None], member], dim=1)


__all__ = ["balanced_accuracy", "class_columns", "estimate_with_error", "scene_sums"]
