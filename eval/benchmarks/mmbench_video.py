"""MMBench-Video: free answers about videos, which a judge compares with the true ones, 0 to 3.

Enters: the name `mmbench_video-test`, and a judge, where there is one. Leaves: what it asks and how it scores: mean
scores by ability; `all` counts an answer that was not judged as 0, `valid` leaves it out. The judge is a language
model (the published figures are GPT-4's): one of `judges`, or a function of one's own:

    run = Run(benchmark("mmbench_video-test", judge), Path("data"), Path("eval-mmbench_video-test"))
    score_run(*finished_run(run))

has kept answers judged. (Paper section 4.1.)
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from desa2va.eval.metrics.judged import MMBenchVideo
from desa2va.training.data.readers import FRAMES

from .questions import FAILED, Answer, Benchmark, Question

Judge = Callable[[str, str, str], int | None]
NO_JUDGE = "not computed: free answers need a judge; name one with --judge (docs/evaluation.md)"


class JudgedScores:
    """Mean scores of a judge.

    Args:
        judge: from question, true answer and answer to a score, 0 to 3, or `None` where it gives none. Without one
            nothing is computed. An answer that failed is not shown to it.
    """

    def __init__(self, judge: Judge | None) -> None:
        self._judge = judge
        self.metric = MMBenchVideo()

    def add(self, question: Question, answer: Answer) -> dict[str, Any]:
        """Score one sample: the `answer`, the `truth`, and the judge's `score`."""
        ids, truth, score = question.dialogue.ids, question.dialogue.turns[0][1], None
        if self._judge is not None and answer.status != FAILED:
            score = self._judge(str(ids["question"]), truth, answer.text)
        self.metric.add(score, json.loads(str(ids["abilities"])))
        return {"answer": answer.text, "truth": truth, "score": score}

    def figures(self) -> dict[str, Any]:
        """Those of `MMBenchVideo` and who judged, where the judge says; without a judge a word why."""
        if self._judge is None:
            return {"scores": NO_JUDGE}
        told = getattr(self._judge, "identity", None)
        return {**self.metric.compute(), **({"judge": told} if told else {})}


def benchmark(name: str, judge: Judge | None = None) -> Benchmark:
    """The benchmark of a name, with a judge of its answers."""
    return Benchmark(
        name=name,
        protocol=f"{FRAMES} frames, frame i at i/{FRAMES + 1} of the video; mean of a judge's scores, 0 to 3",
        id_names=("index",),
        wording="the question as published",
        scores=lambda root: JudgedScores(judge),
        masks=False,
        unit="points",
    )


__all__ = ["JudgedScores", "Judge", "benchmark"]
