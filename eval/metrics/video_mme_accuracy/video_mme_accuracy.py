"""Video-MME for `evaluate.load("eval/metrics/video_mme_accuracy")` (paper section 4.1).

Answers, true letters, options and groups enter;
the figures of `VideoMME` leave.
"""

import datasets
import evaluate

from desa2va.eval.metrics.choices import VideoMME

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
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features(
                {
                    "predictions": datasets.Value("string"),
                    "references": datasets.Value("string"),
                    "options": datasets.Sequence(datasets.Value("string")),
                    "durations": datasets.Value("string"),
                    "domains": datasets.Value("string"),
                    "sub_categories": datasets.Value("string"),
                    "task_types": datasets.Value("string"),
                }
            ),
        )

    def _compute(
        self, predictions, references, options, durations, domains, sub_categories, task_types, rule="official"
    ):
        scores = VideoMME(rule)
        groups = [
            {"duration": duration, "domain": domain, "sub_category": part, "task_type": task}
            for duration, domain, part, task in zip(durations, domains, sub_categories, task_types, strict=True)
        ]
        for answer, truth, texts, names in zip(predictions, references, options, groups, strict=True):
            scores.add(answer, dict(zip("ABCD", texts, strict=True)), truth, names)
        return scores.compute()


__all__ = ["VideoMmeAccuracyMetric"]
