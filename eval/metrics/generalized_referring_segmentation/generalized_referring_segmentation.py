"""gRefCOCO's measures for `evaluate.load("eval/metrics/generalized_referring_segmentation")` (paper section 4.1).

Predicted and true masks `(H, W)` enter, one per expression, empty where it fits nothing; the figures of
`GeneralizedReferring` leave.
"""

import evaluate

from desa2va.eval.metrics.folders import MASK, computed, told
from desa2va.eval.metrics.generalized import GeneralizedReferring

_DESCRIPTION = "gIoU, cIoU, N-acc, T-acc and Precision@t where an expression may fit nothing, with standard errors."
_INPUTS = """
Args:
    predictions: one bool mask (height, width) per expression; an empty one says that it fits nothing.
    references: the true masks, of the predictions' sizes; empty where the expression fits nothing.
    thresholds: the t of Precision@t, by default 0.7, 0.8, 0.9.
    min_pixels: predictions of fewer pixels are cleared; by default 0, GRES takes 50.
"""
_CITATION = """
@inproceedings{liu2023gres,
  title = {GRES: Generalized Referring Expression Segmentation},
  author = {Liu, Chang and Ding, Henghui and Jiang, Xudong}, booktitle = {CVPR}, year = {2023}
}
"""


class GeneralizedReferringSegmentationMetric(evaluate.Metric):
    """`GeneralizedReferring` behind `add_batch` and `compute`."""

    def _info(self) -> evaluate.MetricInfo:
        return told(_DESCRIPTION, _INPUTS, _CITATION, predictions=MASK, references=MASK)

    def _compute(self, predictions, references, thresholds=(0.7, 0.8, 0.9), min_pixels=0):
        return computed(GeneralizedReferring(thresholds, min_pixels), predictions, references)


__all__ = ["GeneralizedReferringSegmentationMetric"]
