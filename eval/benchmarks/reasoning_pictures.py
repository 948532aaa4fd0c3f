"""ReasonSeg: a question whose answer is a mask.

Enters: the name of a benchmark, `reasonseg-<split>`. Leaves: what it asks and how it scores: the first wording alone,
short queries and whole sentences apart and together, pixels labelled "ignore" left out (paper section 4.1).
"""

from __future__ import annotations

from typing import Any

from .questions import WORDING, Answer, Benchmark, Question
from .referring_pictures import PictureScores


class ReasoningScores:
    """cIoU and gIoU of short queries, of whole sentences, and of all."""

    def __init__(self) -> None:
        self._groups: dict[str, PictureScores] = {}

    def add(self, question: Question, answer: Answer) -> dict[str, Any]:
        """Score one sample; its values, and whether it is `"short"` or `"long"`."""
        group = "long" if question.dialogue.ids["is_sentence"] else "short"
        values = [self._groups.setdefault(name, PictureScores()).add(question, answer) for name in ("overall", group)]
        return {"group": group, **values[0]}

    def figures(self) -> dict[str, Any]:
        """By group: `overall`, `short`, `long`, as far as there are any."""
        names = ("overall", "short", "long")
        return {name: self._groups[name].figures() for name in names if name in self._groups}


def benchmark(name: str) -> Benchmark:
    """The benchmark of a name."""
    return Benchmark(
        name=name,
        protocol="LISA: the first wording of each question; ignored pixels count for nothing; short and long apart",
        id_names=("image_id",),
        scores=lambda root: ReasoningScores(),
        options={"rewordings": False},
        wording=f'{WORDING}; after a whole sentence "Please output the segmentation mask."',
    )


__all__ = ["ReasoningScores", "benchmark"]
