"""Video-MME for `evaluate.load("eval/metrics/video_mme_accuracy")` (paper section 4.1).

Answers, true letters, options and groups enter;
the figures of `VideoMME` leave.
"""

import evaluate

from desa2va.eval.metrics.choices import VideoMME
from desa2va.eval.metrics.folders import TEXT, TEXTS, computed, told

_DESCRIPTION = "Accuracy on Video-MME by duration, domain, sub-category and task."
_INPUTS = """
Args:
    predictions: what the model wrote.
    references: the true letters.
    options: the four texts.
    durations, domains, sub_categories, task_types: of each question.
    rule: "official" (default; open questions are left out) or "vlmevalkit" (all count).
"""
_CITATION = """
@inproceedings{fu2025videomme,
  title = {Video-MME: The First-Ever Comprehensive Evaluation Benchmark of Multi-modal LLMs in Video Analysis},
  author = {Fu, Chaoyou and others}, booktitle = {CVPR}, year = {2025}
}
"""


class VideoMmeAccuracyMetric(evaluate.Metric):
    """`VideoMME` behind `add_batch` and `compute`."""

    def _info(self) -> evaluate.MetricInfo:
        groups = dict.fromkeys(("durations", "domains", "sub_categories", "task_types"), TEXT)
        return told(_DESCRIPTION, _INPUTS, _CITATION, predictions=TEXT, references=TEXT, options=TEXTS, **groups)

    def _compute(
        self, predictions, references, options, durations, domains, sub_categories, task_types, rule="official"
    ):
        lettered = (dict(zip("ABCD", texts, strict=True)) for texts in options)
        groups = (
            {"duration": duration, "domain": domain, "sub_category": part, "task_type": task}
            for duration, domain, part, task in zip(durations, domains, sub_categories, task_types, strict=True)
        )
        return computed(VideoMME(rule), predictions, lettered, references, groups)


__all__ = ["VideoMmeAccuracyMetric"]
