"""Ref-DAVIS17 for `evaluate.load("eval/metrics/ref_davis17_segmentation")` (paper section 4.1).

Predictions `(O, T, H, W)` of one annotator for one video and index maps `(T, H, W)` enter;
the figures of `RefDavis17` leave.
"""

import datasets
import evaluate
import numpy as np

from desa2va.eval.metrics.folders import INDICES, NUMBER, computed, told
from desa2va.eval.metrics.ref_davis import RefDavis17

_DESCRIPTION = "J, F and J&F of Ref-DAVIS17, four annotators or expression by expression."
_INPUTS = """
Args:
    predictions: per video and annotator masks or probabilities (objects, frames, height, width).
    references: the true index maps (frames, height, width), 255 is void.
    annotators: 0 to 3.
    protocol: "four_annotators" (default) or "expression".
"""
_CITATION = """
@inproceedings{khoreva2018video,
  title = {Video Object Segmentation with Language Referring Expressions},
  author = {Khoreva, Anna and Rohrbach, Anna and Schiele, Bernt}, booktitle = {ACCV}, year = {2018}
}
"""


class RefDavis17SegmentationMetric(evaluate.Metric):
    """`RefDavis17` behind `add_batch` and `compute`."""

    def _info(self) -> evaluate.MetricInfo:
        frames = datasets.Sequence(datasets.Sequence(datasets.Sequence(datasets.Value("float32"))))
        columns = {"predictions": datasets.Sequence(frames), "references": INDICES, "annotators": NUMBER}
        return told(_DESCRIPTION, _INPUTS, _CITATION, **columns)

    def _compute(self, predictions, references, annotators, protocol="four_annotators"):
        names = (f"{number:05d}" for number in range(len(predictions)))
        found = ([np.asarray(track) for track in tracks] for tracks in predictions)
        return computed(RefDavis17(protocol), names, annotators, found, map(np.asarray, references))


__all__ = ["RefDavis17SegmentationMetric"]
