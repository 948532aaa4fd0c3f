"""ReVOS for `evaluate.load("eval/metrics/revos_segmentation")` (paper section 4.1).

Predicted, true and foreground masks `(T, H, W)` and kinds enter, one clip per expression;
the figures of `ReVOS` leave.
"""

import evaluate
import numpy as np

from desa2va.eval.metrics.expression_groups import ReVOS
from desa2va.eval.metrics.folders import MASKS, NUMBER, computed, told

_DESCRIPTION = "J, F, J&F, A and R of ReVOS by kind of expression, in percent."
_INPUTS = """
Args:
    predictions: one bool clip (frames, height, width) per expression.
    references: the true masks.
    foregrounds: the union of all objects of the video.
    kinds: type_id of each expression, 0 referring, 1 reasoning, 2 no such object.
    decimals: rounding of each percentage, by default 2 as the script does; None rounds nothing.
"""
_CITATION = """
@inproceedings{yan2024visa,
  title = {VISA: Reasoning Video Object Segmentation via Large Language Models},
  author = {Yan, Cilin and others}, booktitle = {ECCV}, year = {2024}
}
"""


class RevosSegmentationMetric(evaluate.Metric):
    """`ReVOS` behind `add_batch` and `compute`."""

    def _info(self) -> evaluate.MetricInfo:
        columns = {"predictions": MASKS, "references": MASKS, "foregrounds": MASKS, "kinds": NUMBER}
        return told(_DESCRIPTION, _INPUTS, _CITATION, **columns)

    def _compute(self, predictions, references, foregrounds, kinds, decimals=2):
        clips = (map(np.asarray, column) for column in (predictions, references, foregrounds))
        return computed(ReVOS(decimals), *clips, kinds)


__all__ = ["RevosSegmentationMetric"]
