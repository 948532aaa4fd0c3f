"""gRefCOCO: expressions of one object, of several, or of none.

Enters: the name of a benchmark, `grefcoco-unc-<split>`. Leaves: what it asks and how it scores: an answer without a
`[SEG]`, or with an empty mask, says that nothing fits (paper section 4.1; the measures of ReLA's evaluator).
"""

from __future__ import annotations

from typing import Any

from desa2va.eval.metrics.generalized import GeneralizedReferring

from .questions import Answer, Benchmark, Question


class GeneralizedScores:
    """gIoU, cIoU, N-acc, T-acc and Precision@t over samples."""

    def __init__(self) -> None:
        self.metric = GeneralizedReferring()

    def add(self, question: Question, answer: Answer) -> dict[str, Any]:
        """Score one sample: `iou`, `fits_nothing` of the data, `says_nothing` of the model, and its pixels."""
        fits_nothing = question.dialogue.kind == "no_target"
        self.metric.add(answer.mask(question), question.truth(), fits_nothing=fits_nothing)
        names = ("fits_nothing", "says_nothing", "iou", "intersection", "union")
        return dict(zip(names, self.metric.rows[-1], strict=True))

    def figures(self) -> dict[str, Any]:
        """Those of `GeneralizedReferring`."""
        return self.metric.compute()


def benchmark(name: str) -> Benchmark:
    """The benchmark of a name."""
    return Benchmark(
        name=name,
        protocol="ReLA: gIoU counts 1 where nothing fits and nothing is marked; no [SEG] or an empty mask says so",
        id_names=("ref_id", "sent_id"),
        scores=lambda root: GeneralizedScores(),
        options={"split_by": name.split("-")[1], "text": "sent"},
    )


__all__ = ["GeneralizedScores", "benchmark"]
