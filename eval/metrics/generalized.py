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

from .referring import overlap
from .uncertainty import mean_with_error, ratio_with_error


class GeneralizedReferring:
    """Collects expressions and computes gIoU, cIoU, N-acc, T-acc and Precision@t.

    * N-acc: share of the expressions that fit nothing whose prediction is "nothing".
    * T-acc: share of the expressions that fit something whose prediction is something.
    * Precision@t: share of the expressions that fit something whose IoU is at least t.

    Args:
        thresholds: the t of Precision@t.
    """

    def __init__(self, thresholds: Sequence[float] = (0.7, 0.8, 0.9)) -> None:
        self.thresholds = tuple(thresholds)
        self._rows: list[tuple[bool, bool, float, int, int]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, prediction: np.ndarray, truth: np.ndarray, says_nothing: bool | None = None) -> None:
        """Add one expression.

        Args:
            prediction: raw predicted mask, bool `(H, W)`, all predicted objects united.
            truth: true mask; empty where the expression fits nothing.
            says_nothing: the model's verdict; by default whether `prediction` is empty.

        Raises:
            ValueError: shapes differ.
        """
        intersection, union = overlap(prediction, truth)
        is_nothing = not np.any(truth)
        says_nothing = not np.any(prediction) if says_nothing is None else bool(says_nothing)
        if is_nothing and says_nothing:
            row = (1.0, 0, 0)
        elif is_nothing or says_nothing:
            row = (0.0, 0, union)
        else:
            row = (intersection / union, intersection, union)
        self._rows.append((is_nothing, says_nothing, *row))

    def compute(self) -> dict[str, float | int | None]:
        """The measures; those without any expression to count on are `None`.

        Returns:
            `n`, `n_no_target`, `giou`, `ciou`, `n_acc`, `t_acc`, their standard errors (`..._se`), and `precision@t`.

        Raises:
            ValueError: no expression was added.
        """
        if not self._rows:
            raise ValueError("no expression was added")
        is_nothing, says_nothing, ious, intersections, unions = (
            np.asarray(column) for column in zip(*self._rows, strict=True)
        )
        figures: dict[str, float | int | None] = {"n": len(self), "n_no_target": int(is_nothing.sum())}
        figures["giou"], figures["giou_se"] = mean_with_error(ious)
        figures["ciou"], figures["ciou_se"] = ratio_with_error(intersections, unions)
        for name, right in (("n_acc", says_nothing[is_nothing]), ("t_acc", ~says_nothing[~is_nothing])):
            figures[name], figures[f"{name}_se"] = mean_with_error(right) if right.size else (None, None)
        for t in self.thresholds:
            reached = ious[~is_nothing] >= t
            figures[f"precision@{t:g}"] = float(reached.mean()) if reached.size else None
        return figures


__all__ = ["GeneralizedReferring"]
