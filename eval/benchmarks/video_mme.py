"""Video-MME: multiple choice about short, medium and long videos, with or without subtitles.

Enters: the name `video_mme-<with or without>_subtitles`. Leaves: what it asks and how it scores: by the set's own
script (`official`), which leaves questions out whose answer holds no letter, and as VLMEvalKit does (`vlmevalkit`),
which looks for the text of an option then and counts every question. A sample that failed is wrong in both. Eight
frames of a video are shown. (Paper section 4.1.)
"""

from __future__ import annotations

from typing import Any

from desa2va.eval.metrics.answers import LETTER_RULES
from desa2va.eval.metrics.choices import VideoMME
from desa2va.training.data.readers import FRAMES, VIDEO_MME_GROUPS

from .multiple_choice import options_of
from .questions import FAILED, Answer, Benchmark, Question


class VideoMMEScores:
    """The figures by both rules; `answered` tells how many answers hold a letter."""

    def __init__(self) -> None:
        self._metrics = {rule: VideoMME(rule) for rule in LETTER_RULES}

    def add(self, question: Question, answer: Answer) -> dict[str, Any]:
        """Score one sample: the `truth`, and whether it is right by either rule."""
        ids, text = question.dialogue.ids, None if answer.status == FAILED else answer.text
        groups = {name: str(ids[name]) for name in VIDEO_MME_GROUPS}
        truth, right = str(ids["answer"]), {}
        for rule, metric in self._metrics.items():
            metric.add(text, options_of(question), truth, groups)
            right[f"right_{rule}"] = metric.rows[-1][0] == truth
        return {"answer": answer.text, "truth": truth, **right}

    def figures(self) -> dict[str, Any]:
        """Those of `VideoMME` by rule, and the overall `accuracy` (`None` where no question counts)."""
        found = {rule: metric.compute() for rule, metric in self._metrics.items()}
        return {
            rule: {"accuracy": (values["overall"] or {}).get("accuracy"), **values} for rule, values in found.items()
        }


def benchmark(name: str) -> Benchmark:
    """The benchmark of a name."""
    return Benchmark(
        name=name,
        protocol=f"{FRAMES} frames, frame i at i/{FRAMES + 1} of the video; official: of answers that hold a letter; "
        "vlmevalkit: of all questions; subtitles: what is said on these frames",
        id_names=("question_id",),
        wording='that of the set\'s page: the request for a letter, question, options, "The best answer is:"',
        scores=lambda root: VideoMMEScores(),
        masks=False,
    )


__all__ = ["VideoMMEScores", "benchmark"]
