"""MME: two questions about every picture, one to be answered with yes and one with no.

Enters: the name `mme-test`. Leaves: what it asks and how it scores: perception and cognition, each the sum over its
tasks of accuracy and accuracy over pictures with both questions right, in points. Answers are read by MME's own script
(`official`: yes or else no in the first four characters) and by VLMEvalKit (exactly one of the words anywhere); both
take an answer that says neither for wrong. (Paper section 4.1.)
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from desa2va.eval.metrics.answers import YES_NO_RULES, read_yes_no
from desa2va.eval.metrics.choices import MME
from desa2va.training.data.question_sets import ASKED_OF_EACH
from desa2va.training.data.records import Dialogue

from .questions import Answer, Benchmark, Question

WORDING = 'the question as published, "Answer the question using a single word or phrase."'
Pair = tuple[str, str]


class MMEScores:
    """The scores by both rules. Of a limited run pictures count that were asked about twice."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, bool, Pair]] = []

    def add(self, question: Question, answer: Answer) -> dict[str, Any]:
        """Score one sample: the `truth`, and whether it is right by either rule."""
        truth, pair = question.dialogue.ids["answer"] == "yes", pair_of(question.dialogue)
        self._rows.append((answer.text, truth, pair))
        right = {f"right_{rule}": read_yes_no(answer.text, rule) is truth for rule in YES_NO_RULES}
        return {"task": pair[0], "picture": pair[1], "answer": answer.text, "truth": truth, **right}

    def figures(self) -> dict[str, Any]:
        """Those of `MME` by rule; `None` where no picture counts."""
        asked = Counter(pair for *_, pair in self._rows)
        figures = {}
        for rule in YES_NO_RULES:
            metric = MME(rule)
            for text, truth, pair in self._rows:
                if asked[pair] == ASKED_OF_EACH:
                    metric.add(text, truth, *pair)
            figures[rule] = metric.compute() if len(metric) else None
        return figures


def pair_of(dialogue: Dialogue) -> Pair:
    """Task and picture: several tasks ask about some of the pictures."""
    return str(dialogue.ids["category"]), str(dialogue.ids["picture"])


def benchmark(name: str) -> Benchmark:
    """The benchmark of a name."""
    return Benchmark(
        name=name,
        protocol="MME: per task accuracy plus accuracy of pictures with both questions right, times 100; answers read "
        "by the official script and by VLMEvalKit, neither yes nor no is wrong",
        id_names=("index",),
        wording=WORDING,
        scores=lambda root: MMEScores(),
        masks=False,
        unit="points",
    )


__all__ = ["MMEScores", "benchmark", "pair_of"]
