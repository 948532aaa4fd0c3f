"""Captions for `evaluate.load("eval/metrics/caption_quality")` (paper section 4.1).

Captions with their references enter;
the figures of `CaptionQuality` leave.
"""

import evaluate

from desa2va.eval.metrics.captions import CaptionQuality
from desa2va.eval.metrics.folders import TEXT, TEXTS, computed, told

_DESCRIPTION = "METEOR, CIDEr, BLEU and ROUGE-L by pycocoevalcap; needs Java."
_INPUTS = """
Args:
    predictions: one caption per item.
    references: a list of captions per item.
"""
_CITATION = """
@article{chen2015microsoft,
  title = {Microsoft COCO Captions: Data Collection and Evaluation Server},
  author = {Chen, Xinlei and others}, journal = {arXiv preprint arXiv:1504.00325}, year = {2015}
}
"""


class CaptionQualityMetric(evaluate.Metric):
    """`CaptionQuality` behind `add_batch` and `compute`."""

    def _info(self) -> evaluate.MetricInfo:
        return told(_DESCRIPTION, _INPUTS, _CITATION, predictions=TEXT, references=TEXTS)

    def _compute(self, predictions, references):
        return computed(CaptionQuality(), range(len(predictions)), predictions, references)


__all__ = ["CaptionQualityMetric"]
