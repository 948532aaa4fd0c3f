"""MeViS, Refer-YouTube-VOS and Ref-SAV: expressions about videos.

Enters: the name of a benchmark, `<set>-<split>`. Leaves: what it asks and how it scores: J and F of every expression
over all frames, or, where the truth is not public, what its server takes (paper section 4.1).
"""

from __future__ import annotations

from typing import Any

from desa2va.eval.metrics.expression_groups import RefSAV
from desa2va.eval.metrics.video import VideoSegmentation

from .questions import Answer, Benchmark, Question
from .submission import MaskZip

PER_EXPRESSION = "J and F of every expression over all frames, then the plain mean; all that is meant is one mask"
GROUPED = (
    "percent; each expression rounded to two decimals, then means of long and short descriptions; overall is the mean "
    "of the two"
)
_SUBMISSIONS = {"mevis-valid": MaskZip(""), "ref_youtube_vos-valid": MaskZip("Annotations/")}


class VideoScores:
    """J, F and J&F of expressions."""

    def __init__(self) -> None:
        self.metric = VideoSegmentation()

    def add(self, question: Question, answer: Answer) -> dict[str, Any]:
        """Score one sample: its `j`, `f` and `jf`."""
        self.metric.add(answer.mask(question), question.truth())
        j, f, _ = self.metric.rows[-1]
        return {"j": j, "f": f, "jf": (j + f) / 2}

    def figures(self) -> dict[str, Any]:
        """Those of `VideoSegmentation`."""
        return self.metric.compute()


class LengthScores:
    """Ref-SAV: J, F and A of long descriptions, of short ones, and the mean of the two."""

    def __init__(self) -> None:
        self.metric = RefSAV()

    def add(self, question: Question, answer: Answer) -> dict[str, Any]:
        """Score one sample: its `group`, and `j`, `f`, `jf`, `a` as fractions."""
        self.metric.add(answer.mask(question), question.truth(), question.dialogue.ids["type"])
        kind, j, f, a = self.metric.rows[-1]
        return {"group": self.metric.groups[kind], "j": j, "f": f, "jf": (j + f) / 2, "a": a}

    def figures(self) -> dict[str, Any]:
        """Those of `RefSAV`: `long`, `short` and `overall`, in percent."""
        return self.metric.compute()


def benchmark(name: str) -> Benchmark:
    """The benchmark of a name."""
    dataset, split = name.split("-")
    protocol, scores = PER_EXPRESSION, lambda root: VideoScores()
    if name in _SUBMISSIONS:
        protocol, scores = "the truth is not public: submission.zip is what the benchmark's server scores", None
    elif dataset == "ref_sav":
        protocol, scores = GROUPED, lambda root: LengthScores()
    return Benchmark(
        name=name,
        protocol=protocol,
        id_names=("video", "exp_id"),
        scores=scores,
        submission=_SUBMISSIONS.get(name),
        unit="percent" if dataset == "ref_sav" else "fraction",
    )


__all__ = ["PER_EXPRESSION", "LengthScores", "VideoScores", "benchmark"]
