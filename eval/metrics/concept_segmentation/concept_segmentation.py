"""cgF1 for `evaluate.load("eval/metrics/concept_segmentation")` (paper section 4.1).

Sets of predicted and true masks `(N, H, W)` enter, one of each per picture and phrase;
the figures of `ConceptSegmentation` leave.
"""

import datasets
import evaluate
import numpy as np

from desa2va.eval.metrics.concepts import ConceptSegmentation

_DESCRIPTION = "cgF1 of SAM 3: presence MCC times positive micro-F1."
_INPUTS = """
Args:
    predictions: bool masks (number, height, width) per sample, none where nothing is found.
    references: the true masks.
    protocol: "exact" (default) or "sam3", with the margins of its code.
"""
_CITATION = """
@article{carion2025sam3,
  title = {SAM 3: Segment Anything with Concepts},
  author = {Carion, Nicolas and others}, journal = {arXiv preprint arXiv:2511.16719}, year = {2025}
}
"""


class ConceptSegmentationMetric(evaluate.Metric):
    """`ConceptSegmentation` behind `add_batch` and `compute`."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features(
                {
                    "predictions": datasets.Sequence(datasets.Sequence(datasets.Sequence(datasets.Value("bool")))),
                    "references": datasets.Sequence(datasets.Sequence(datasets.Sequence(datasets.Value("bool")))),
                }
            ),
        )

    def _compute(self, predictions, references, protocol="exact"):
        scores = ConceptSegmentation(protocol)
        for found, real in zip(predictions, references, strict=True):
            scores.add([np.asarray(mask) for mask in found], [np.asarray(mask) for mask in real])
        return scores.compute()


__all__ = ["ConceptSegmentationMetric"]
