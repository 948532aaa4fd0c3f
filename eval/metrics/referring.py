"""Referring segmentation: cIoU, gIoU and Precision@t over expressions.

A predicted and a true mask for every expression enter, figures with standard errors leave (paper section 4.1, the
measures of RefCOCO, RefCOCO+, RefCOCOg and ReasonSeg). An expression without any predicted mask enters with an empty
one: leaving it out, as the evaluator published with the paper does, raises cIoU.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .collected import Collected, one_of
from .uncertainty import exact_mean, mean_with_error, ratio_with_error

PROTOCOLS = ("exact", "lisa")


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
        if keep.shape != truth.shape:
            raise ValueError(f"the ignored pixels have shape {keep.shape}, the masks {truth.shape}; they must agree")
        prediction, truth = prediction & keep, truth & keep
    return int(np.count_nonzero(prediction & truth)), int(np.count_nonzero(prediction | truth))


class ReferringSegmentation(Collected):
    """Collects expressions and computes the measures. Masks may be pictures or whole clips.

    * cIoU ("overall IoU"): sum of all intersections over sum of all unions; 1 where all unions are empty.
    * gIoU ("mIoU"): mean IoU over expressions, not over pictures; two empty masks count 1.
    * Precision@t: share of expressions whose IoU exceeds t.

    Args:
        thresholds: the t of Precision@t.
        protocol: "exact", or "lisa" for the evaluators of LISA, GLaMM and Sa2VA, whose IoU of one expression is
            I / (U + 1e-5) and whose cIoU is sum I / (sum U + 1e-10).
        inclusive: Precision@t counts an IoU of exactly t (ReLA) or not (MTTR, ReferFormer; the default).

    Raises:
        ValueError: unknown protocol.
    """

    def __init__(
        self,
        thresholds: Sequence[float] = (0.5, 0.6, 0.7, 0.8, 0.9),
        protocol: str = "exact",
        inclusive: bool = False,
    ) -> None:
        super().__init__()
        self.thresholds = tuple(thresholds)
        self.protocol = one_of("protocol", protocol, PROTOCOLS)
        self.inclusive = inclusive

    @property
    def intersections(self) -> list[int]:
        """Pixels in the intersection of every expression."""
        return [intersection for intersection, _ in self.rows]

    @property
    def unions(self) -> list[int]:
        """Pixels in the union of every expression."""
        return [union for _, union in self.rows]

    def add(self, prediction: np.ndarray, truth: np.ndarray, ignore: np.ndarray | None = None) -> None:
        """Add one expression; several masks predicted for it are to be united first. Arguments as in `overlap`."""
        self.add_counts(*overlap(prediction, truth, ignore))

    def add_counts(self, intersection: int, union: int) -> None:
        """Add one expression by its pixels."""
        self.rows.append((int(intersection), int(union)))

    @property
    def ious(self) -> np.ndarray:
        """Float64 `(n,)`: IoU of every expression, 1 where both masks are empty."""
        above, below = np.asarray(self.intersections, np.float64), np.asarray(self.unions, np.float64)
        margin = 1e-5 if self.protocol == "lisa" else 0.0
        return np.divide(above, below + margin, out=np.ones_like(above), where=below > 0)

    def compute(self) -> dict[str, float | int | None]:
        """The measures: `n`, `ciou`, `giou`, their standard errors `ciou_se`, `giou_se`, and `precision@t` for all t.

        Raises:
            ValueError: no expression was added.
        """
        intersections, unions = self.columns()
        ciou, ciou_error = ratio_with_error(intersections, unions)
        if self.protocol == "lisa":
            ciou = math.fsum(intersections) / (math.fsum(unions) + 1e-10)
        ious = self.ious
        giou, giou_error = mean_with_error(ious)
        figures = {"n": len(self), "ciou": ciou, "ciou_se": ciou_error, "giou": giou, "giou_se": giou_error}
        reached = np.greater_equal if self.inclusive else np.greater
        return {**figures, **{f"precision@{t:g}": exact_mean(reached(ious, t)) for t in self.thresholds}}


__all__ = ["PROTOCOLS", "ReferringSegmentation", "overlap"]
