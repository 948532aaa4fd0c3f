"""Video segmentation: region similarity J, boundary accuracy F and their mean J&F, as DAVIS defines them.

A predicted and a true mask of every frame enter, figures with standard errors leave (paper section 4.1, the measures
of Ref-YouTube-VOS and MeViS, and of Ref-DAVIS17 as Sa2VA and VISA score it). `davis` holds the protocols by object.
"""

from __future__ import annotations

import numpy as np

from .boundary import boundary_accuracy, checked_clips
from .collected import Collected
from .uncertainty import mean_with_error


def jaccard(prediction: np.ndarray, truth: np.ndarray, void: np.ndarray | None = None) -> np.ndarray:
    """IoU of every frame, 1 where both masks are empty: masks `(T, H, W)` to float64 `(T,)` in [0, 1].

    Args:
        prediction, truth: bool `(T, H, W)`.
        void: pixels that belong to neither, likewise.

    Raises:
        ValueError: shapes differ or are not `(T, H, W)`.
    """
    prediction, truth = checked_clips(prediction, truth, void)
    intersection = np.count_nonzero(prediction & truth, axis=(1, 2)).astype(np.float64)
    union = np.count_nonzero(prediction | truth, axis=(1, 2)).astype(np.float64)
    return np.divide(intersection, union, out=np.ones_like(union), where=union > 0)


def sequence_statistics(values: np.ndarray) -> dict[str, float]:
    """DAVIS' mean, recall (share above 0.5) and decay (mean of the first quarter minus the last one's) of a sequence.

    The quarters share their border frames, as in `db_statistics` of davis2017-evaluation (whose frame numbers are
    bytes and wrap after 256 frames; ours do not).

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


class VideoSegmentation(Collected):
    """Collects one clip per expression and computes the measures, each averaged over frames, then over expressions.

    This is the protocol of MeViS (`valid_u`; several objects of one expression united), of Ref-YouTube-VOS' server and
    of Sa2VA's and VISA's Ref-DAVIS17. All frames count; nothing is matched.
    """

    def add(self, prediction: np.ndarray, truth: np.ndarray) -> None:
        """Add one expression: predicted and true masks, bool `(T, H, W)`.

        Raises:
            ValueError: shapes differ, are not `(T, H, W)`, or there is no frame.
        """
        regions = jaccard(prediction, truth)
        if not len(regions):
            raise ValueError("a video needs at least one frame, got none")
        visible = np.any(truth, axis=(1, 2))
        boundary = float(boundary_accuracy(prediction, truth).mean())
        seen = float(regions[visible].mean()) if visible.any() else None
        self.rows.append((float(regions.mean()), boundary, seen))

    def compute(self) -> dict[str, float | int | None]:
        """The measures.

        Returns:
            `n`; `j`, `f` and `jf` over all frames (two empty masks count 1); `mean_iou`: J over the frames that show
            the object, `None` if there are none; each with a standard error (`..._se`).

        Raises:
            ValueError: no expression was added.
        """
        regions, boundaries, visible = self.columns()
        both = (np.asarray(regions) + np.asarray(boundaries)) / 2
        figures: dict[str, float | int | None] = {"n": len(self)}
        for name, values in (("j", regions), ("f", boundaries), ("jf", both)):
            figures[name], figures[f"{name}_se"] = mean_with_error(values)
        seen = [value for value in visible if value is not None]
        figures["mean_iou"], figures["mean_iou_se"] = mean_with_error(seen) if seen else (None, None)
        return figures


__all__ = ["VideoSegmentation", "jaccard", "sequence_statistics"]
