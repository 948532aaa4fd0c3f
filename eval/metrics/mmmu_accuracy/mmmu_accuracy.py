"""MMMU for `evaluate.load("eval/metrics/mmmu_accuracy")` (paper section 4.1).

Answers, true letters or texts, options and categories enter, no options for an open question;
the figures of `MMMU` leave.
"""

from string import ascii_uppercase

import evaluate

from desa2va.eval.metrics.folders import NUMBER, TEXT, TEXTS, computed, told
from desa2va.eval.metrics.mmmu import MMMU

_DESCRIPTION = "Accuracy on MMMU by its own protocol and by VLMEvalKit's."
_INPUTS = """
Args:
    predictions: what the model wrote.
    references: the true letters; of open questions a text, or a list of texts as a literal of Python.
    options: texts of A, B, ...; none: an open question.
    indices: of the questions.
    categories: one name per question.
"""
_CITATION = """
@inproceedings{yue2024mmmu,
  title = {MMMU: A Massive Multi-discipline Multimodal Understanding and Reasoning Benchmark for Expert AGI},
  author = {Yue, Xiang and others}, booktitle = {CVPR}, year = {2024}
}
"""


class MmmuAccuracyMetric(evaluate.Metric):
    """`MMMU` behind `add_batch` and `compute`."""

    def _info(self) -> evaluate.MetricInfo:
        columns = {"predictions": TEXT, "references": TEXT, "options": TEXTS, "indices": NUMBER, "categories": TEXT}
        return told(_DESCRIPTION, _INPUTS, _CITATION, **columns)

    def _compute(self, predictions, references, options, indices, categories):
        lettered = (dict(zip(ascii_uppercase, texts, strict=False)) for texts in options)
        groups = ({"category": category} for category in categories)
        return computed(MMMU(), indices, predictions, lettered, references, groups)


__all__ = ["MmmuAccuracyMetric"]
