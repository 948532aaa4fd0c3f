"""MMMU for `evaluate.load("eval/metrics/mmmu_accuracy")` (paper section 4.1).

Answers, true letters or texts, options and categories enter, no options for an open question;
the figures of `MMMU` leave.
"""

from string import ascii_uppercase

import datasets
import evaluate

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

    def _compute(self, predictions, references, options, indices, categories):
        scores = MMMU()
        rows = zip(indices, predictions, options, references, categories, strict=True)
        for index, answer, texts, truth, category in rows:
            scores.add(index, answer, dict(zip(ascii_uppercase, texts, strict=False)), truth, {"category": category})
        return scores.compute()


__all__ = ["MmmuAccuracyMetric"]
