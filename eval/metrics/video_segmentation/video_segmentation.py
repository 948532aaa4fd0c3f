"""J, F and J&F for `evaluate.load("eval/metrics/video_segmentation")` (paper section 4.1).

Predicted and true masks `(T, H, W)` enter, one clip per expression; the figures of `VideoSegmentation` leave.
"""

import evaluate
import numpy as np

from desa2va.eval.metrics.folders import MASKS, computed, told
from desa2va.eval.metrics.video import VideoSegmentation

_DESCRIPTION = "Region similarity J, boundary accuracy F and J&F of DAVIS, with standard errors over expressions."
_INPUTS = """
Args:
    predictions: one bool clip (frames, height, width) per expression.
    references: the true masks, of the predictions' sizes.
"""
_CITATION = """
@article{ponttuset2017davis,
  title = {The 2017 DAVIS Challenge on Video Object Segmentation},
  author = {Pont-Tuset, Jordi and others}, journal = {arXiv preprint arXiv:1704.00675}, year = {2017}
}
"""


class VideoSegmentationMetric(evaluate.Metric):
    """`VideoSegmentation` behind `add_batch` and `compute`."""

    def _info(self) -> evaluate.MetricInfo:
        return told(_DESCRIPTION, _INPUTS, _CITATION, predictions=MASKS, references=MASKS)

    def _compute(self, predictions, references):
        return computed(VideoSegmentation(), map(np.asarray, predictions), map(np.asarray, references))


__all__ = ["VideoSegmentationMetric"]
