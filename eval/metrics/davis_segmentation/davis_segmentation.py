"""DAVIS 2017 by object for `evaluate.load("eval/metrics/davis_segmentation")` (paper section 4.1).

Predicted and true index maps `(T, H, W)` enter, one sequence each; the figures of `DavisSegmentation` leave.
"""

import evaluate
import numpy as np

from desa2va.eval.metrics.davis import DavisSegmentation
from desa2va.eval.metrics.folders import INDICES, computed, told

_DESCRIPTION = "J, F and J&F of DAVIS 2017 over objects, with recall and decay, semi-supervised or unsupervised."
_INPUTS = """
Args:
    predictions: one index map (frames, height, width) per sequence, 0 is background.
    references: the true index maps, 255 is void.
    protocol: "semi-supervised" (default) or "unsupervised".
"""
_CITATION = """
@article{ponttuset2017davis,
  title = {The 2017 DAVIS Challenge on Video Object Segmentation},
  author = {Pont-Tuset, Jordi and others}, journal = {arXiv preprint arXiv:1704.00675}, year = {2017}
}
"""


class DavisSegmentationMetric(evaluate.Metric):
    """`DavisSegmentation` behind `add_batch` and `compute`; sequences are named by their number."""

    def _info(self) -> evaluate.MetricInfo:
        return told(_DESCRIPTION, _INPUTS, _CITATION, predictions=INDICES, references=INDICES)

    def _compute(self, predictions, references, protocol="semi-supervised"):
        names = (f"{number:05d}" for number in range(len(predictions)))
        return computed(DavisSegmentation(protocol), names, map(np.asarray, predictions), map(np.asarray, references))


__all__ = ["DavisSegmentationMetric"]
