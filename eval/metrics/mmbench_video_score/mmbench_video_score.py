"""MMBench-Video for `evaluate.load("eval/metrics/mmbench_video_score")` (paper section 4.1).

A judge's scores and abilities enter, one of each per question;
the figures of `MMBenchVideo` leave.
"""

import evaluate

from desa2va.eval.metrics.folders import NUMBER, TEXTS, computed, told
from desa2va.eval.metrics.judged import MMBenchVideo

_DESCRIPTION = "Mean scores of MMBench-Video by group and by ability."
_INPUTS = """
Args:
    predictions: scores of the judge, 0 to 3; None where there is none.
    references: abilities of each question.
"""
_CITATION = """
@inproceedings{fang2024mmbenchvideo,
  title = {MMBench-Video: A Long-Form Multi-Shot Benchmark for Holistic Video Understanding},
  author = {Fang, Xinyu and others}, booktitle = {NeurIPS}, year = {2024}
}
"""


class MmbenchVideoScoreMetric(evaluate.Metric):
    """`MMBenchVideo` behind `add_batch` and `compute`."""

    def _info(self) -> evaluate.MetricInfo:
        return told(_DESCRIPTION, _INPUTS, _CITATION, predictions=NUMBER, references=TEXTS)

    def _compute(self, predictions, references):
        return computed(MMBenchVideo(), predictions, references)


__all__ = ["MmbenchVideoScoreMetric"]
