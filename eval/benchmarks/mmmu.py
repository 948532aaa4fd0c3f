"""MMMU: college questions about one picture or several, most of them multiple choice, some open.

Enters: the name `mmmu-<split>`. Leaves: what it asks and how it scores: by MMMU's own script (`official`), which draws
an option at random where an answer names none, and as VLMEvalKit does without a judge, which takes such an answer for
wrong; the two differ by points, so both are told. Several pictures of a question are shown as the frames of a video,
as Sa2VA's evaluation shows them; the text keeps its `<image 1>`. (Paper section 4.1.)
"""

from __future__ import annotations

from typing import Any

from desa2va.eval.metrics.mmmu import MMMU, judged

from .multiple_choice import WORDING, groups_of, options_of
from .questions import FAILED, Answer, Benchmark, Question


class MMMUScores:
    """Accuracy by both protocols."""

    def __init__(self) -> None:
        self.metric = MMMU()

    def add(self, question: Question, answer: Answer) -> dict[str, Any]:
        """Score one sample: the `truth`, and whether it is right by either protocol; a failed one is not."""
        ids, text = question.dialogue.ids, None if answer.status == FAILED else answer.text
        row = int(ids["index"]), text, options_of(question), str(ids["answer"])
        self.metric.add(*row, groups_of(question))
        official, vlmevalkit, drawn = judged(*row)
        right = {"right_official": official, "right_vlmevalkit": vlmevalkit, "drawn": drawn}
        return {"answer": answer.text, "truth": ids["answer"], **right}

    def figures(self) -> dict[str, Any]:
        """Those of `MMMU`."""
        return self.metric.compute()


def benchmark(name: str) -> Benchmark:
    """The benchmark of a name."""
    return Benchmark(
        name=name,
        protocol="official: the option named last, drawn at random (by the question's index) where none is, open "
        "answers by MMMU's rules; vlmevalkit: exact matching, open questions as their answer against other answers",
        id_names=("index",),
        wording=f'{WORDING}; open questions "Answer the question directly."',
        scores=lambda root: MMMUScores(),
        masks=False,
    )


__all__ = ["MMMUScores", "benchmark"]
