"""Ref-SAV for `evaluate.load("eval/metrics/ref_sav_segmentation")` (paper section 4.1).

Predicted and true masks `(T, H, W)` and kinds enter, one clip per expression;
the figures of `RefSAV` leave.
"""

import evaluate
import numpy as np

from desa2va.eval.metrics.expression_groups import RefSAV
from desa2va.eval.metrics.folders import MASKS, NUMBER, computed, told

_DESCRIPTION = "J, F, J&F and A of Ref-SAV for long, for short and for all expressions, in percent."
_INPUTS = """
Args:
    predictions: one bool clip (frames, height, width) per expression.
    references: the true masks.
    kinds: type_id of each expression, 0 long, 1 short.
    decimals: rounding of each percentage, by default 2 as the script does; None rounds nothing.
"""
_CITATION = """
@article{yuan2025sa2va,
  title = {Sa2VA: Marrying SAM2 with LLaVA for Dense Grounded Understanding of Images and Videos},
  author = {Yuan, Haobo and others}, journal = {arXiv preprint arXiv:2501.04001}, year = {2025}
}
"""


class RefSavSegmentationMetric(evaluate.Metric):
    """`RefSAV` behind `add_batch` and `compute`."""

    def _info(self) -> evaluate.MetricInfo:
        return told(_DESCRIPTION, _INPUTS, _CITATION, predictions=MASKS, references=MASKS, kinds=NUMBER)

    def _compute(self, predictions, references, kinds, decimals=2):
        return computed(RefSAV(decimals), map(np.asarray, predictions), map(np.asarray, references), kinds)


__all__ = ["RefSavSegmentationMetric"]
