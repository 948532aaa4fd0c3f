"""Referring segmentation: cIoU, gIoU and Precision@t over expressions.

A predicted and a true mask for every expression enter, figures with standard errors leave (paper section 4.1, the
measures of RefCOCO, RefCOCO+ and RefCOCOg). An expression without any predicted mask enters with an empty one: leaving
it out, as the evaluator published with the paper does, raises cIoU.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .uncertainty import mean_with_error, ratio_with_error


def overlap(prediction: np.ndarray, truth: np.ndarray, ignore: np.ndarray | None = None) -> tuple[int, int]:
    """Pixels in intersection and union of two masks.

    Args:
        prediction: array of any shape; non-zero is foreground.
        truth: as `prediction`, same shape.
        ignore: where given, pixels that count for neither, same shape.

    Raises:
        ValueError: shapes differ.
    """
    prediction, truth = np.asarray(prediction, bool), np.asarray(truth, bool)
    if prediction.shape != truth.shape:
        raise ValueError(f"the prediction has shape {prediction.shape}, the truth {truth.shape}; they must agree")
    if ignore is not None:
        keep = ~np.asarray(ignore, bool)
        prediction, truth = prediction & keep, truth & keep
    return int(np.count_nonzero(prediction & truth)), int(np.count_nonzero(prediction | truth))


class ReferringSegmentation:
    """Collects expressions and computes the measures.

    * cIoU: sum of all intersections over sum of all unions; 1 where all unions are empty.
    * gIoU: mean IoU over expressions; two empty masks count 1.
    * Precision@t: share of expressions whose IoU exceeds t.

    Args:
        thresholds: the t of Precision@t.
    """

    def __init__(self, thresholds: Sequence[float] = (0.5, 0.6, 0.7, 0.8, 0.9)) -> None:
        self.thresholds = tuple(thresholds)
        self.intersections: list[int] = []
        self.unions: list[int] = []

    def __len__(self) -> int:
        return len(self.unions)

    def add(self, prediction: np.ndarray, truth: np.ndarray, ignore: np.ndarray | None = None) -> None:
        """Add one expression; several masks predicted for it are to be united first. Arguments as in `overlap`."""
        intersection, union = overlap(prediction, truth, ignore)
        self.intersections.append(intersection)
        self.unions.append(union)

    @property
    def ious(self) -> np.ndarray:
        """Float64 `(n,)`: IoU of every expression, 1 where both masks are empty."""
        above, below = np.asarray(self.intersections, np.float64), np.asarray(self.unions, np.float64)
        return np.divide(above, below, out=np.ones_like(above), where=below > 0)

    def compute(self) -> dict[str, float | int | None]:
        """The measures: `n`, `ciou`, `giou`, their standard errors `ciou_se`, `giou_se`, and `precision@t` for all t.

        Raises:
            ValueError: no expression was added.
        """
        ciou, ciou_error = ratio_with_error(self.intersections, self.unions)
        ious = self.ious
        giou, giou_error = mean_with_error(ious)
        figures = {"n": len(self), "ciou": ciou, "ciou_se": ciou_error, "giou": giou, "giou_se": giou_error}
        return {**figures, **{f"precision@{t:g}": float((ious > t).mean()) for t in self.thresholds}}


__all__ = ["ReferringSegmentation", "overlap"]
