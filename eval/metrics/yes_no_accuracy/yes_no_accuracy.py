"""Yes and no for `evaluate.load("eval/metrics/yes_no_accuracy")` (paper section 4.1).

Answers and truths enter;
the figures of `YesNo` leave.
"""

import evaluate

from desa2va.eval.metrics.choices import YesNo
from desa2va.eval.metrics.folders import TEXT, YES, computed, told

_DESCRIPTION = "Accuracy of answers to yes-no questions."
_INPUTS = """
Args:
    predictions: what the model wrote.
    references: whether yes is right.
    rule: how answers are read, "official" (default; MME) or "vlmevalkit".
"""
_CITATION = """
@article{fu2023mme,
  title = {MME: A Comprehensive Evaluation Benchmark for Multimodal Large Language Models},
  author = {Fu, Chaoyou and others}, journal = {arXiv preprint arXiv:2306.13394}, year = {2023}
}
"""


class YesNoAccuracyMetric(evaluate.Metric):
    """`YesNo` behind `add_batch` and `compute`."""

    def _info(self) -> evaluate.MetricInfo:
        return told(_DESCRIPTION, _INPUTS, _CITATION, predictions=TEXT, references=YES)

    def _compute(self, predictions, references, rule="official"):
        return computed(YesNo(rule), predictions, references)


__all__ = ["YesNoAccuracyMetric"]
