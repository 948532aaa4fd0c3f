"""Ref-DAVIS17 for `evaluate.load("eval/metrics/ref_davis17_segmentation")` (paper section 4.1).

Predictions `(O, T, H, W)` of one annotator for one video and index maps `(T, H, W)` enter;
the figures of `RefDavis17` leave.
"""

import datasets
import evaluate
import numpy as np

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
        mask = datasets.Sequence(datasets.Sequence(datasets.Value("float32")))
        clip = datasets.Sequence(datasets.Sequence(datasets.Sequence(datasets.Value("uint8"))))
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features(
                {
                    "predictions": datasets.Sequence(datasets.Sequence(mask)),
                    "references": clip,
                    "annotators": datasets.Value("int32"),
                }
            ),
        )

    def _compute(self, predictions, references, annotators, protocol="four_annotators"):
        scores = RefDavis17(protocol)
        columns = zip(predictions, references, annotators, strict=True)
        for number, (prediction, truth, annotator) in enumerate(columns):
            scores.add(f"{number:05d}", annotator, [np.asarray(part) for part in prediction], np.asarray(truth))
        return scores.compute()


__all__ = ["RefDavis17SegmentationMetric"]
