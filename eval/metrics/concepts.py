"""Sets of objects that a noun phrase names: cgF1, as SAM 3 defines it.

For every pair of picture (or clip) and phrase a set of predicted and a set of true masks enter; presence MCC, positive
micro-F1 and their product cgF1 leave. Source: `sam3/eval/cgf1_eval.py`. Figures are fractions; SAM 3's paper prints
them times 100.

* Presence: does the set have a member? MCC is Matthews' correlation of "predicted some" with "there are some".
* Positive micro-F1: over the samples where something is there, masks are paired one to one (Hungarian, on IoU), and
  F1 = 2 TP / (2 TP + FP + FN) of all samples' counts, averaged over the IoU thresholds .5, .55, ..., .95.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from .collected import Collected, one_of
from .pairs import pairwise_iou

PROTOCOLS = ("exact", "sam3")
IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
_SHOWN = {0.5: 0, 0.75: 5}


class ConceptSegmentation(Collected):
    """Collects samples and computes cgF1.

    Args:
        protocol: "exact", or "sam3" for the small margins its code adds to denominators (1e-4, and 1e-6 in MCC).
        score_threshold: predictions with a score below it are dropped.

    Raises:
        ValueError: unknown protocol.
    """

    def __init__(self, protocol: str = "exact", score_threshold: float = 0.5) -> None:
        super().__init__()
        self.protocol = one_of("protocol", protocol, PROTOCOLS)
        self.score_threshold = score_threshold

    def add(
        self,
        predictions: Sequence[np.ndarray],
        truths: Sequence[np.ndarray],
        scores: Sequence[float] | None = None,
    ) -> None:
        """Add one sample.

        Args:
            predictions: bool `(H, W)` or `(T, H, W)` each; none where nothing is found.
            truths: likewise; none where nothing is there.
            scores: one per prediction; without them all count.

        Raises:
            ValueError: shapes differ, or another number of scores.
        """
        if scores is not None:
            if len(scores) != len(predictions):
                raise ValueError(f"{len(predictions)} predictions have {len(scores)} scores; one each is needed")
            kept = zip(predictions, scores, strict=True)
            predictions = [mask for mask, score in kept if score >= self.score_threshold]
        ious = pairwise_iou(predictions, truths)
        matched = ious[linear_sum_assignment(-ious)]
        hits = tuple(int(np.count_nonzero(matched >= threshold)) for threshold in IOU_THRESHOLDS)
        self.rows.append((len(predictions), len(truths), hits))

    def compute(self) -> dict[str, float | int | None]:
        """The measures.

        Returns:
            `n`, `n_positive`; `cgf1`, `presence_mcc` (0 where it is undefined, e.g. without negatives),
            `positive_micro_f1`; cgF1 and F1 at single thresholds (`..@0.5`, `..@0.75`). F1 and cgF1 are `None`
            without a positive sample.

        Raises:
            ValueError: no sample was added.
        """
        found, real, hits = (np.asarray(column) for column in self.columns())
        positive = real > 0
        mcc = self._correlation(found > 0, positive)
        figures = {"n": len(self), "n_positive": int(positive.sum()), "presence_mcc": mcc}
        scores = self._f1(hits[positive].sum(axis=0), int(found[positive].sum()), int(real.sum()))
        shown = {"": slice(None), **{f"@{threshold:g}": place for threshold, place in _SHOWN.items()}}
        for suffix, place in shown.items():
            score = float(np.mean(scores[place])) if positive.any() else None
            figures[f"positive_micro_f1{suffix}"] = score
            figures[f"cgf1{suffix}"] = None if score is None else score * mcc
        return figures

    def _f1(self, hits: np.ndarray, found: int, real: int) -> np.ndarray:
        """F1 of every threshold from true positives `(10,)`, predictions and true masks of the positive samples."""
        if self.protocol == "exact":
            return 2 * hits / max(found + real, 1)
        precision, recall = hits / (found + 1e-4), hits / (real + 1e-4)
        return 2 * precision * recall / (precision + recall + 1e-4)

    def _correlation(self, said: np.ndarray, is_there: np.ndarray) -> float:
        """Matthews' correlation of two bool `(n,)`."""
        right, wrong = (int(np.count_nonzero(mask)) for mask in (said & is_there, said & ~is_there))
        silent, missed = (int(np.count_nonzero(mask)) for mask in (~said & ~is_there, ~said & is_there))
        product = (right + wrong) * (right + missed) * (silent + wrong) * (silent + missed)
        if self.protocol == "sam3":
            return (right * silent - wrong * missed) / (math.sqrt(product) + 1e-6)
        return (right * silent - wrong * missed) / math.sqrt(product) if product else 0.0


__all__ = ["IOU_THRESHOLDS", "PROTOCOLS", "ConceptSegmentation"]
