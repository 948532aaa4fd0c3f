"""MME for `evaluate.load("eval/metrics/mme_score")` (paper section 4.1).

Answers, truths, tasks and pictures enter, two questions per picture;
the figures of `MME` leave.
"""

import evaluate

from desa2va.eval.metrics.choices import MME
from desa2va.eval.metrics.folders import TEXT, YES, computed, told

_DESCRIPTION = "Perception, cognition and task scores of MME."
_INPUTS = """
Args:
    predictions: what the model wrote.
    references: whether yes is right.
    tasks: of MME, e.g. "existence".
    pictures: names; each has two questions.
    rule: how answers are read, "official" (default) or "vlmevalkit".
"""
_CITATION = """
@article{fu2023mme,
  title = {MME: A Comprehensive Evaluation Benchmark for Multimodal Large Language Models},
  author = {Fu, Chaoyou and others}, journal = {arXiv preprint arXiv:2306.13394}, year = {2023}
}
"""


class MmeScoreMetric(evaluate.Metric):
    """`MME` behind `add_batch` and `compute`."""

    def _info(self) -> evaluate.MetricInfo:
        return told(_DESCRIPTION, _INPUTS, _CITATION, predictions=TEXT, references=YES, tasks=TEXT, pictures=TEXT)

    def _compute(self, predictions, references, tasks, pictures, rule="official"):
        return computed(MME(rule), predictions, references, tasks, pictures)


__all__ = ["MmeScoreMetric"]
