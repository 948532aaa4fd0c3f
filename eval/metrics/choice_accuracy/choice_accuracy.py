"""Multiple choice for `evaluate.load("eval/metrics/choice_accuracy")` (paper section 4.1).

Answers, true letters, options and categories enter;
the figures of `MultipleChoice` leave.
"""

from string import ascii_uppercase

import evaluate

from desa2va.eval.metrics.choices import MultipleChoice
from desa2va.eval.metrics.folders import NUMBER, TEXT, TEXTS, computed, told

_DESCRIPTION = "Accuracy of multiple-choice answers, by category; circular as in MMBench on request."
_INPUTS = """
Args:
    predictions: what the model wrote.
    references: the true letters.
    options: texts of A, B, ...
    indices: of the questions; rotation k of i is i + k * 1,000,000.
    categories: one name per question.
    circular: whether all rotations of a question must be right; by default not.
"""
_CITATION = """
@inproceedings{liu2024mmbench,
  title = {MMBench: Is Your Multi-modal Model an All-around Player?},
  author = {Liu, Yuan and others}, booktitle = {ECCV}, year = {2024}
}
"""


class ChoiceAccuracyMetric(evaluate.Metric):
    """`MultipleChoice` behind `add_batch` and `compute`."""

    def _info(self) -> evaluate.MetricInfo:
        columns = {"predictions": TEXT, "references": TEXT, "options": TEXTS, "indices": NUMBER, "categories": TEXT}
        return told(_DESCRIPTION, _INPUTS, _CITATION, **columns)

    def _compute(self, predictions, references, options, indices, categories, circular=False):
        lettered = (dict(zip(ascii_uppercase, texts, strict=False)) for texts in options)
        groups = ({"category": category} for category in categories)
        return computed(MultipleChoice(circular), indices, predictions, lettered, references, groups)


__all__ = ["ChoiceAccuracyMetric"]
