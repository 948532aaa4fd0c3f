"""ReVOS: referring and reasoning expressions about videos, and some that fit nothing.

Enters: the name `revos-valid`. Leaves: what it asks and how it scores: J, F, A and the robustness R of every
expression in percent, rounded and grouped as the published script does (paper section 4.1).
"""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Any

from desa2va.eval.metrics.expression_groups import ReVOS
from desa2va.training.data.readers import read_revos_foreground

from .questions import Answer, Benchmark, Question, unite


class ReVOSScores:
    """J, F, A and R by kind of expression.

    Args:
        root: the data folder; it holds the foreground that R is relative to.
    """

    def __init__(self, root: Path) -> None:
        self.metric = ReVOS()
        self._foreground = MappingProxyType(read_revos_foreground(root))  # read only: no sample leaves anything there

    def add(self, question: Question, answer: Answer) -> dict[str, Any]:
        """Score one sample: its `kind`, and `j`, `f`, `a`, `r` as fractions.

        Raises:
            ValueError: no foreground of its video, or one of another number of frames.
        """
        video, kind = question.dialogue.ids["video"], question.dialogue.ids["type"]
        track = self._foreground.get(video)
        if track is None or len(track) != question.record.num_frames:
            found = "none" if track is None else f"one of {len(track)} frames"
            raise ValueError(
                f"sample {question.id}: mask_dict_foreground.json needs a foreground of {question.record.num_frames} "
                f"frames for its video, it has {found}"
            )
        self.metric.add(answer.mask(question), question.truth(), unite([track], question.shape), kind)
        _, j, f, a, r = self.metric.rows[-1]
        return {"kind": self.metric.groups[kind], "j": j, "f": f, "jf": (j + f) / 2, "a": a, "r": r}

    def figures(self) -> dict[str, Any]:
        """Those of `ReVOS`: by kind and `overall`, in percent."""
        return self.metric.compute()


def benchmark(name: str) -> Benchmark:
    """The benchmark of a name."""
    return Benchmark(
        name=name,
        protocol="percent; each expression rounded to two decimals, then means by kind; overall is the mean of "
        "referring and reasoning; expressions that fit nothing are told apart and enter neither",
        id_names=("video", "exp_id"),
        scores=ReVOSScores,
        unit="percent",
    )


__all__ = ["ReVOSScores", "benchmark"]
