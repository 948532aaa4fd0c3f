"""Multiple choice for `evaluate.load("eval/metrics/choice_accuracy")` (paper section 4.1).

Answers, true letters, options and categories enter;
the figures of `MultipleChoice` leave.
"""

from string import ascii_uppercase

import datasets
import evaluate

from desa2va.eval.metrics.choices import MultipleChoice

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
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features(
                {
                    "predictions": datasets.Value("string"),
                    "references": datasets.Value("string"),
                    "options": datasets.Sequence(datasets.Value("string")),
                    "indices": datasets.Value("int64"),
                    "categories": datasets.Value("string"),
                }
            ),
        )

    def _compute(self, predictions, references, options, indices, categories, circular=False):
        scores = MultipleChoice(circular)
        rows = zip(indices, predictions, options, references, categories, strict=True)
        for index, answer, texts, truth, category in rows:
            scores.add(index, answer, dict(zip(ascii_uppercase, texts, strict=False)), truth, {"category": category})
        return scores.compute()


__all__ = ["ChoiceAccuracyMetric"]
