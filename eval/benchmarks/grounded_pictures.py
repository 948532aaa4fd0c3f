"""Grounded conversation (GCG): a caption whose phrases have masks.

Enters: the name of a benchmark, `gcg-<split>`. Leaves: what it asks and how it scores: masks without their phrases
(AP50, mIoU), masks with them (recall), and the caption (METEOR, CIDEr; paper section 4.1, GLaMM's evaluator).
"""

from __future__ import annotations

import re
import shutil
from importlib.util import find_spec
from typing import Any

from desa2va.eval.metrics.grounding import GroundedConversation, Similarity
from desa2va.processing.processing_desa2va import GCG_INSTRUCTION

from .phrase_similarity import PhraseSimilarity
from .questions import Answer, Benchmark, Question

_PHRASE = re.compile(r"<p>(.*?)</p>", re.DOTALL)
_TAGS = re.compile(r"<.*?>|\[SEG\]", re.DOTALL)
NO_CAPTIONS = "not computed: METEOR and CIDEr need Java and pycocoevalcap (pip install 'desa2va[eval]')"


class GroundedScores:
    """AP50, mIoU, recall and the figures of captions.

    Args:
        similarity: of two phrases. captions: whether captions are scored, which needs Java.
    """

    def __init__(self, similarity: Similarity, captions: bool) -> None:
        self.metric = GroundedConversation(similarity, captions)

    def add(self, question: Question, answer: Answer) -> dict[str, Any]:
        """Score one picture: its `miou`, how many of its `phrases` were `matched`, and the caption that was given."""
        said, truth = phrases_of(answer.text), question.dialogue
        caption = caption_of(answer.text)
        self.metric.add(
            question.id,
            (caption, said, [mask[0] for mask in answer.object_masks(question)]),
            (str(truth.ids["caption"]), phrases_of(truth.turns[0][1]), list(question.record.masks(truth)[:, 0])),
        )
        _, miou, matched, phrases, *_ = self.metric.rows[-1]
        return {"miou": miou, "matched": matched, "phrases": phrases, "caption": caption}

    def figures(self) -> dict[str, Any]:
        """Those of `GroundedConversation`; without captions a word why."""
        return {**self.metric.compute(), **({} if self.metric.captions else {"captions": NO_CAPTIONS})}


def phrases_of(text: str) -> list[str]:
    """What stands between `<p>` and `</p>`, in order."""
    return [" ".join(phrase.split()) for phrase in _PHRASE.findall(text)]


def caption_of(text: str) -> str:
    """The text without tags and `[SEG]`, blanks squeezed."""
    return " ".join(_TAGS.sub("", text).split()).strip("'\" ")


def can_score_captions() -> bool:
    """Whether Java and pycocoevalcap are there."""
    return shutil.which("java") is not None and find_spec("pycocoevalcap") is not None


def benchmark(name: str) -> Benchmark:
    """The benchmark of a name."""
    return Benchmark(
        name=name,
        protocol="GLaMM: mIoU over greedy pairs of masks, then pictures; recall where IoU and similarity of phrases "
        "reach 0.5; AP50 with all scores 1; METEOR and CIDEr of the caption",
        id_names=("image_id",),
        wording=GCG_INSTRUCTION,
        scores=lambda root: GroundedScores(PhraseSimilarity(), can_score_captions()),
    )


__all__ = ["GroundedScores", "benchmark", "can_score_captions", "caption_of", "phrases_of"]
