"""Pairs of predicted and true masks: IoU of all with all.

Sets of masks enter, of pictures or of whole clips; a matrix leaves. (Engineering; no paper section.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def pairwise_iou(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> np.ndarray:
    """IoU of every mask of one set with every mask of the other; a clip counts its pixels over all frames.

    Two empty masks have nothing in common and get 0: they are no pair. (pycocotools says 0; GLaMM's division gives
    NaN, on which its matching stops.)

    Args:
        one, other: bool masks of one shape, `(H, W)` or `(T, H, W)`.

    Returns:
        Float64 `(len(one), len(other))` in [0, 1].

    Raises:
        ValueError: shapes differ.
    """
    one, other = ([np.asarray(mask, bool) for mask in masks] for masks in (one, other))
    shapes = sorted({mask.shape for mask in (*one, *other)})
    if len(shapes) > 1:
        raise ValueError(f"masks have shapes {shapes}; those of one picture must agree")
    ious = np.zeros((len(one), len(other)))
    for row, left in enumerate(one):
        for column, right in enumerate(other):
            union = np.count_nonzero(left | right)
            ious[row, column] = np.count_nonzero(left & right) / union if union else 0.0
    return ious


__all__ = ["pairwise_iou"]
