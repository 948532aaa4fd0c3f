"""Captions of regions: an object of RefCOCOg is outlined, and the model says what it is.

Enters: the name `refcocog_regions-val`. Leaves: what it asks and how it scores: METEOR and CIDEr (BLEU and ROUGE-L,
too) of COCO's caption tools. Every entry of GLaMM's file is a sample with its one caption as reference, as its
evaluator counts them. CIDEr weighs words by the references of the run, so a limited run's is another figure.
(Paper section 4.1.)

* `as_answered`: the answer without tags and `[SEG]`.
* `sa2va_cleaning`: after Sa2VA's cleaning, which also deletes "is" and "shows" inside words; for comparison.
"""

from __future__ import annotations

from typing import Any

from desa2va.eval.metrics.captions import CaptionQuality, without_region_words
from desa2va.training.data.readers import CAPTION_REQUEST

from .grounded_pictures import NO_CAPTIONS, can_score_captions, caption_of
from .questions import Answer, Benchmark, Question


class RegionScores:
    """Figures of captions, by how answers are cleaned.

    Args:
        captions: whether they are scored, which needs Java; else `figures` says what is missing.
    """

    def __init__(self, captions: bool) -> None:
        self.captions = captions
        self._plain, self._cleaned = CaptionQuality(), CaptionQuality()

    def add(self, question: Question, answer: Answer) -> dict[str, Any]:
        """Keep one sample: its `caption` and its `reference`."""
        reference, caption = question.dialogue.turns[0][1], caption_of(answer.text)
        self._plain.add(question.id, caption, [reference])
        self._cleaned.add(question.id, without_region_words(answer.text), [reference])
        return {"caption": caption, "reference": reference}

    def figures(self) -> dict[str, Any]:
        """Those of `CaptionQuality`."""
        if not self.captions:
            return {"captions": NO_CAPTIONS}
        return {"as_answered": self._plain.compute(), "sa2va_cleaning": self._cleaned.compute()}


def benchmark(name: str) -> Benchmark:
    """The benchmark of a name."""
    return Benchmark(
        name=name,
        protocol="COCO caption tools, one reference per sample as in GLaMM's file; the region is outlined",
        id_names=("image_id",),
        wording=CAPTION_REQUEST,
        scores=lambda root: RegionScores(can_score_captions()),
        masks=False,
    )


__all__ = ["RegionScores", "benchmark"]
