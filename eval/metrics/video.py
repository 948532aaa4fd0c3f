"""Video segmentation: region similarity J, boundary accuracy F and their mean J&F, as DAVIS defines them.

A predicted and a true mask of every frame enter, figures with standard errors leave (paper section 4.1, the measures
of Ref-YouTube-VOS, Ref-DAVIS17, MeViS and ReVOS). Written in numpy alone; agrees with davis2017-evaluation.
"""

from __future__ import annotations

import math

import numpy as np

from .uncertainty import mean_with_error

BOUNDARY_TOLERANCE = 0.008


def jaccard(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """IoU of every frame, 1 where both masks are empty: masks `(T, H, W)` to float64 `(T,)` in [0, 1].

    Raises:
        ValueError: shapes differ or are not `(T, H, W)`.
    """
    prediction, truth = _checked(prediction, truth)
    intersection = np.count_nonzero(prediction & truth, axis=(1, 2)).astype(np.float64)
    union = np.count_nonzero(prediction | truth, axis=(1, 2)).astype(np.float64)
    return np.divide(intersection, union, out=np.ones_like(union), where=union > 0)


def boundary_accuracy(prediction: np.ndarray, truth: np.ndarray, tolerance: float = BOUNDARY_TOLERANCE) -> np.ndarray:
    """F of every frame: masks `(T, H, W)` to float64 `(T,)` in [0, 1].

    Precision is the share of predicted boundary pixels within a small disk of a true one, recall the reverse, F their
    harmonic mean. Without a predicted boundary precision is 1, without a true one recall is 1.

    Args:
        prediction: bool `(T, H, W)`.
        truth: likewise.
        tolerance: radius of the disk, see `boundary_radius`.

    Raises:
        ValueError: shapes differ or are not `(T, H, W)`.
    """
    prediction, truth = _checked(prediction, truth)
    radius = boundary_radius(*truth.shape[1:], tolerance)
    scores = np.empty(len(truth))
    for t in range(len(truth)):
        predicted_edge, true_edge = boundary_map(prediction[t]), boundary_map(truth[t])
        predicted_count, true_count = np.count_nonzero(predicted_edge), np.count_nonzero(true_edge)
        if not predicted_count or not true_count:
            scores[t] = float(predicted_count == true_count)
            continue
        precision = np.count_nonzero(predicted_edge & dilate(true_edge, radius)) / predicted_count
        recall = np.count_nonzero(true_edge & dilate(predicted_edge, radius)) / true_count
        scores[t] = 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0
    return scores


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

    The disk is a stack of rows; going from its outermost row to the middle, the mask is widened as the disk widens.
    """
    mask = np.asarray(mask, bool)
    height = len(mask)
    grown, wide, half = np.zeros_like(mask), mask.copy(), 0
    for rows in range(radius, -1, -1):
        while half < math.isqrt(radius * radius - rows * rows):
            half += 1
            wide[:, half:] |= mask[:, :-half]
            wide[:, :-half] |= mask[:, half:]
        if rows < height:
            grown[rows:] |= wide[: height - rows]
            grown[: height - rows] |= wide[rows:]
    return grown


def sequence_statistics(values: np.ndarray) -> dict[str, float]:
    """DAVIS' mean, recall (share above 0.5) and decay (mean of the first quarter minus the last one's) of a sequence.

    Args:
        values: J or F of every frame.

    Raises:
        ValueError: no values.
    """
    values = np.asarray(values, np.float64)
    if not values.size:
        raise ValueError("a sequence needs at least one frame, got none")
    edges = (np.round(np.linspace(1, len(values), 5) + 1e-10) - 1).astype(int)
    first, last = values[edges[0] : edges[1] + 1], values[edges[3] : edges[4] + 1]
    decay = float(first.mean() - last.mean())
    return {"mean": float(values.mean()), "recall": float((values > 0.5).mean()), "decay": decay}


class VideoSegmentation:
    """Collects one clip per expression and computes the measures, each averaged over frames, then over expressions.

    This is the protocol of MeViS, Ref-YouTube-VOS and Sa2VA: all frames count, the objects meant are one mask.
    """

    def __init__(self) -> None:
        self.regions: list[float] = []
        self.boundaries: list[float] = []
        self.visible_ious: list[float] = []

    def __len__(self) -> int:
        return len(self.regions)

    def add(self, prediction: np.ndarray, truth: np.ndarray) -> None:
        """Add one expression: predicted and true masks, bool `(T, H, W)`.

        Raises:
            ValueError: shapes differ, are not `(T, H, W)`, or there is no frame.
        """
        regions = jaccard(prediction, truth)
        if not len(regions):
            raise ValueError("a video needs at least one frame, got none")
        visible = np.any(truth, axis=(1, 2))
        self.regions.append(float(regions.mean()))
        self.boundaries.append(float(boundary_accuracy(prediction, truth).mean()))
        if visible.any():
            self.visible_ious.append(float(regions[visible].mean()))

    def compute(self) -> dict[str, float | int | None]:
        """The measures.

        Returns:
            `n`; `j`, `f` and `jf` over all frames (two empty masks count 1); `mean_iou`: J over the frames that show
            the object, `None` if there are none; each with a standard error (`..._se`).

        Raises:
            ValueError: no expression was added.
        """
        both = (np.asarray(self.regions) + np.asarray(self.boundaries)) / 2
        figures: dict[str, float | int | None] = {"n": len(self)}
        for name, values in (
            ("j", self.regions),
            ("f", self.boundaries),
            ("jf", both),
            ("mean_iou", self.visible_ious),
        ):
            figures[name], figures[f"{name}_se"] = (
                mean_with_error(values) if len(values) or not len(self) else (None, None)
            )
        return figures


def _checked(prediction: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both masks as bool.

    Raises:
        ValueError: shapes differ or are not `(T, H, W)`.
    """
    prediction, truth = np.asarray(prediction, bool), np.asarray(truth, bool)
    if prediction.shape != truth.shape or truth.ndim != 3:
        raise ValueError(
            f"prediction and truth must be (frames, height, width) alike, got {prediction.shape} and {truth.shape}"
        )
    return prediction, truth


__all__ = [
    "BOUNDARY_TOLERANCE",
    "VideoSegmentation",
    "boundary_accuracy",
    "boundary_map",
    "boundary_radius",
    "dilate",
    "jaccard",
    "sequence_statistics",
]
