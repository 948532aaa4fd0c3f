"""cgF1 for `evaluate.load("eval/metrics/concept_segmentation")` (paper section 4.1).

Sets of predicted and true masks `(N, H, W)` enter, one of each per picture and phrase;
the figures of `ConceptSegmentation` leave.
"""

import evaluate
import numpy as np

from desa2va.eval.metrics.concepts import ConceptSegmentation
from desa2va.eval.metrics.folders import MASKS, computed, told

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
        return told(_DESCRIPTION, _INPUTS, _CITATION, predictions=MASKS, references=MASKS)

    def _compute(self, predictions, references, protocol="exact"):
        sets = (([np.asarray(mask) for mask in some] for some in column) for column in (predictions, references))
        return computed(ConceptSegmentation(protocol), *sets)


__all__ = ["ConceptSegmentationMetric"]
