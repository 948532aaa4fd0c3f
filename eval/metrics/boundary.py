"""Boundaries of masks and F, the accuracy with which two of them agree, as DAVIS defines it.

Predicted and true masks enter, F of every frame leaves (paper section 4.1). Written in numpy alone; equal to
davis2017-evaluation (`f_measure`, `_seg2bmap`, OpenCV's dilation by scikit-image's disk) to the last bit. Everything
happens in the box that holds the objects, since boundaries lie nowhere else.
"""

from __future__ import annotations

import math

import numpy as np

BOUNDARY_TOLERANCE = 0.008


def checked_clips(
    prediction: np.ndarray, truth: np.ndarray, void: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Both clips as bool `(T, H, W)`, void pixels taken out of both.

    Raises:
        ValueError: shapes differ or are not `(T, H, W)`.
    """
    prediction, truth = np.asarray(prediction, bool), np.asarray(truth, bool)
    if prediction.shape != truth.shape or truth.ndim != 3:
        raise ValueError(
            f"prediction and truth must be (frames, height, width) alike, got {prediction.shape} and {truth.shape}"
        )
    if void is None:
        return prediction, truth
    keep = ~np.asarray(void, bool)
    if keep.shape != truth.shape:
        raise ValueError(f"void pixels have shape {keep.shape}, the masks {truth.shape}; they must agree")
    return prediction & keep, truth & keep


def boundary_accuracy(
    prediction: np.ndarray,
    truth: np.ndarray,
    tolerance: float = BOUNDARY_TOLERANCE,
    void: np.ndarray | None = None,
) -> np.ndarray:
    """F of every frame: masks `(T, H, W)` to float64 `(T,)` in [0, 1].

    Precision is the share of predicted boundary pixels within a small disk of a true one, recall the reverse, F their
    harmonic mean. Without a predicted boundary precision is 1, without a true one recall is 1.

    Args:
        prediction: bool `(T, H, W)`.
        truth: likewise.
        tolerance: radius of the disk, see `boundary_radius`.
        void: pixels that belong to neither mask, likewise (DAVIS' unsupervised protocol).

    Raises:
        ValueError: shapes differ or are not `(T, H, W)`.
    """
    prediction, truth = checked_clips(prediction, truth, void)
    radius = boundary_radius(*truth.shape[1:], tolerance)
    return np.asarray([_frame_accuracy(*pair, radius) for pair in zip(prediction, truth, strict=True)], np.float64)


def _frame_accuracy(prediction: np.ndarray, truth: np.ndarray, radius: int) -> float:
    """F of one frame, bool `(H, W)`."""
    box = boundary_box(prediction | truth)
    predicted_edge, true_edge = boundary_map(prediction[box]), boundary_map(truth[box])
    predicted_count, true_count = np.count_nonzero(predicted_edge), np.count_nonzero(true_edge)
    if not predicted_count or not true_count:
        return float(predicted_count == true_count)
    precision = np.count_nonzero(predicted_edge & dilate(true_edge, radius)) / predicted_count
    recall = np.count_nonzero(true_edge & dilate(predicted_edge, radius)) / true_count
    return float(harmonic_mean(np.float64(precision), np.float64(recall)))


def harmonic_mean(precision: np.ndarray, recall: np.ndarray) -> np.ndarray:
    """2PR / (P + R), 0 where both are 0."""
    total = precision + recall
    return np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)


def boundary_box(mask: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns outside of which a mask, bool `(H, W)`, has no boundary: its box and one pixel around it."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return slice(0, 0), slice(0, 0)
    return slice(max(rows[0] - 1, 0), rows[-1] + 2), slice(max(columns[0] - 1, 0), columns[-1] + 2)


def boundary_map(mask: np.ndarray) -> np.ndarray:
    """Boundary pixels, bool `(H, W)`: those that differ from their right, lower or lower right neighbour.

    The last row compares to the right only, the last column downwards only, the last pixel is never a boundary.
    """
    mask = np.asarray(mask, bool)
    edge = np.zeros_like(mask)
    edge[:, :-1] |= mask[:, :-1] ^ mask[:, 1:]
    edge[:-1] |= mask[:-1] ^ mask[1:]
    edge[:-1, :-1] |= mask[:-1, :-1] ^ mask[1:, 1:]
    return edge


def boundary_radius(height: int, width: int, tolerance: float = BOUNDARY_TOLERANCE) -> int:
    """Radius in pixels of the disk: `tolerance` times the diagonal, rounded up; `tolerance` itself if at least 1."""
    return int(tolerance if tolerance >= 1 else math.ceil(tolerance * math.hypot(height, width)))


def dilate(mask: np.ndarray, radius: int) -> np.ndarray:
    """All pixels at most `radius` away from a pixel of the mask: bool `(H, W)` to bool `(H, W)`.

    The disk is a stack of rows; going from its outermost row to the middle, the mask is widened as the disk widens. A
    margin of `radius` columns catches what leaves a row, so that every shift is one of a flat array.
    """
    mask = np.asarray(mask, bool)
    height, width = mask.shape
    padded = np.zeros((height, width + radius), bool)
    padded[:, :width] = mask
    source, grown, wide, half = padded.ravel(), np.zeros(padded.size, bool), padded.flatten(), 0
    for rows in range(radius, -1, -1):
        while half < math.isqrt(radius * radius - rows * rows):
            half += 1
            wide[half:] |= source[:-half]
            wide[:-half] |= source[half:]
        if rows < height:
            shift = rows * (width + radius)
            grown[shift:] |= wide[: len(wide) - shift]
            grown[: len(wide) - shift] |= wide[shift:]
    return grown.reshape(padded.shape)[:, :width]


__all__ = [
    "BOUNDARY_TOLERANCE",
    "boundary_accuracy",
    "boundary_box",
    "boundary_map",
    "boundary_radius",
    "checked_clips",
    "dilate",
    "harmonic_mean",
]
