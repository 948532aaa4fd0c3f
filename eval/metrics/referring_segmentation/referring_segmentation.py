"""cIoU, gIoU and Precision@t for `evaluate.load("eval/metrics/referring_segmentation")` (paper section 4.1).

Predicted and true masks `(H, W)` enter, one per expression, of any sizes; figures of `ReferringSegmentation` leave.
"""

import evaluate

from desa2va.eval.metrics.folders import MASK, computed, told
from desa2va.eval.metrics.referring import ReferringSegmentation

_DESCRIPTION = "cIoU, gIoU (mean IoU) and Precision@t of referring segmentation, with standard errors."
_INPUTS = """
Args:
    predictions: one bool mask (height, width) per expression; an empty one where nothing was predicted.
    references: the true masks, of the predictions' sizes.
    thresholds: the t of Precision@t, by default 0.5, 0.6, 0.7, 0.8, 0.9.
    protocol: "exact" (default) or "lisa", the small margins of LISA, GLaMM and Sa2VA.
    inclusive: whether Precision@t counts an IoU of exactly t; by default not.
"""
_CITATION = """
@article{dang2025desa2va,
  title = {Decoupled Seg Tokens Make Stronger Reasoning Video Segmenter and Grounder},
  author = {Dang, Jisheng and others}, journal = {arXiv preprint arXiv:2506.22880}, year = {2025}
}
"""


class ReferringSegmentationMetric(evaluate.Metric):
    """`ReferringSegmentation` behind `add_batch` and `compute`."""

    def _info(self) -> evaluate.MetricInfo:
        return told(_DESCRIPTION, _INPUTS, _CITATION, predictions=MASK, references=MASK)

    def _compute(
        self, predictions, references, thresholds=(0.5, 0.6, 0.7, 0.8, 0.9), protocol="exact", inclusive=False
    ):
        return computed(ReferringSegmentation(thresholds, protocol, inclusive), predictions, references)


__all__ = ["ReferringSegmentationMetric"]
