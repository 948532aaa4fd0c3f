"""Generalised referring segmentation: expressions that may fit nothing (the measures of gRefCOCO).

For every expression a predicted and a true mask enter, and optionally the model's own verdict "fits nothing"; figures
with standard errors leave (paper section 4.1). All figures are fractions; ReLA's evaluator prints some in percent.

| truth | prediction | adds to the gIoU sum | adds to intersection, union |
|---|---|---|---|
| nothing | nothing | 1 | 0, 0 |
| nothing | something | 0 | 0, predicted pixels |
| something | nothing | 0 | 0, union with the raw predicted mask |
| something | something | IoU | intersection, union |
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .collected import Collected
from .referring import overlap
from .uncertainty import exact_mean, mean_with_error, ratio_with_error


class GeneralizedReferring(Collected):
    """Collects expressions and computes gIoU, cIoU, N-acc, T-acc and Precision@t, of pictures or of whole clips.

    * N-acc: share of the expressions that fit nothing whose prediction is "nothing".
    * T-acc: share of the expressions that fit something whose prediction is something.
    * Precision@t: share of the expressions that fit something whose IoU is at least t.

    A clip is nothing where no frame has a mask; its pixels are counted over all frames.

    Args:
        thresholds: the t of Precision@t.
        min_pixels: predictions of fewer pixels are cleared and say "nothing". GRES does so with 50 for models without
            that verdict; 0, the default, clears none.
    """

    def __init__(self, thresholds: Sequence[float] = (0.7, 0.8, 0.9), min_pixels: int = 0) -> None:
        super().__init__()
        self.thresholds = tuple(thresholds)
        self.min_pixels = min_pixels

    def add(
        self,
        prediction: np.ndarray,
        truth: np.ndarray,
        says_nothing: bool | None = None,
        fits_nothing: bool | None = None,
    ) -> None:
        """Add one expression.

        Args:
            prediction: raw predicted mask, bool `(H, W)` or `(T, H, W)`, all predicted objects united.
            truth: true mask; empty where the expression fits nothing.
            says_nothing: the model's verdict; by default whether `prediction` is empty.
            fits_nothing: the data set's label; by default whether `truth` is empty. A target whose polygons cover no
                pixel is a target all the same, with IoU 0.

        Raises:
            ValueError: shapes differ, or a true mask where the expression is said to fit nothing.
        """
        prediction = np.asarray(prediction, bool)
        if np.count_nonzero(prediction) < self.min_pixels:
            prediction, says_nothing = np.zeros_like(prediction), True
        intersection, union = overlap(prediction, truth)
        is_nothing = not np.any(truth) if fits_nothing is None else bool(fits_nothing)
        if is_nothing and np.any(truth):
            raise ValueError("an expression that fits nothing has a true mask; it must be empty")
        says_nothing = not np.any(prediction) if says_nothing is None else bool(says_nothing)
        if is_nothing and says_nothing:
            row = (1.0, 0, 0)
        elif is_nothing or says_nothing:
            row = (0.0, 0, union)
        else:
            row = (intersection / union if union else 0.0, intersection, union)
        self.rows.append((is_nothing, says_nothing, *row))

    def compute(self) -> dict[str, float | int | None]:
        """The measures; those without any expression to count on are `None` (ReLA's evaluator prints 0).

        Returns:
            `n`, `n_no_target`, `giou`, `ciou`, `n_acc`, `t_acc`, their standard errors (`..._se`), and `precision@t`.

        Raises:
            ValueError: no expression was added.
        """
        is_nothing, says_nothing, ious, intersections, unions = (np.asarray(column) for column in self.columns())
        figures: dict[str, float | int | None] = {"n": len(self), "n_no_target": int(is_nothing.sum())}
        figures["giou"], figures["giou_se"] = mean_with_error(ious)
        figures["ciou"], figures["ciou_se"] = ratio_with_error(intersections, unions)
        for name, right in (("n_acc", says_nothing[is_nothing]), ("t_acc", ~says_nothing[~is_nothing])):
            figures[name], figures[f"{name}_se"] = mean_with_error(right) if right.size else (None, None)
        for t in self.thresholds:
            reached = ious[~is_nothing] >= t
            figures[f"precision@{t:g}"] = exact_mean(reached) if reached.size else None
        return figures


__all__ = ["GeneralizedReferring"]
