"""RefCOCO, RefCOCO+ and RefCOCOg: one expression, one object of a picture.

Enters: the name of a benchmark, `<set>-<whose split>-<split>`. Leaves: what it asks and how it scores: every sentence
is a sample, asked for as published (`sent`), and a sentence without a mask counts as an empty one (paper section 4.1).
"""

from __future__ import annotations

from typing import Any

from desa2va.eval.metrics.referring import ReferringSegmentation, overlap

from .questions import Answer, Benchmark, Question

PROTOCOL = "every sentence is a sample; an answer without a mask is an empty one; several masks are united"


class PictureScores:
    """cIoU, gIoU and Precision@t over samples, pixels to be ignored left out."""

    def __init__(self) -> None:
        self.metric = ReferringSegmentation()

    def add(self, question: Question, answer: Answer) -> dict[str, Any]:
        """Score one sample: its `intersection`, `union` and `iou`."""
        intersection, union = overlap(answer.mask(question), question.truth(), question.ignored())
        self.metric.add_counts(intersection, union)
        return {"intersection": intersection, "union": union, "iou": intersection / union if union else 1.0}

    def figures(self) -> dict[str, Any]:
        """Those of `ReferringSegmentation`."""
        return self.metric.compute()


def benchmark(name: str) -> Benchmark:
    """The benchmark of a name."""
    return Benchmark(
        name=name,
        protocol=PROTOCOL,
        id_names=("ref_id", "sent_id"),
        scores=lambda root: PictureScores(),
        options={"split_by": name.split("-")[1], "text": "sent"},
    )


__all__ = ["PROTOCOL", "PictureScores", "benchmark"]
