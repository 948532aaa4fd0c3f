"""Answers that compete for pixels: who has which is decided while the model's probabilities are at hand.

Enters: all that one annotator asks about a video. Leaves: the answers, each with the pixels that it has (`owned`).
The rule is that of ReferFormer's `inference_davis.py`: logits are resized to the source (bilinear), the sigmoid is
taken in float32, what is below 0.5 is set to 0, and the pixel goes to the highest value, the first of equals, with 0.1
for the background. Where the sigmoid is 1 in float32 (logits from about 17) all are equal. (Paper section 4.1.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from desa2va.eval.metrics.ref_davis import index_map
from desa2va.processing.files import encode_mask
from desa2va.processing.results import SegmentationResult
from desa2va.training.data.records import Code

from .asking import ModelAnswerer, plain_answer
from .questions import Answer, Question


class ContestAnswerer:
    """A model whose answers to one annotator compete.

    Args:
        asked: the model.
    """

    def __init__(self, asked: ModelAnswerer) -> None:
        self.asked = asked

    def __call__(self, questions: Sequence[Question]) -> list[Answer]:
        """Answers in the order of the questions, all about one video.

        Those of an annotator who is not asked for completely have no `owned`.
        """
        results = self.asked.results(questions, keep_logits=True)
        answers = [plain_answer(result) for result in results]
        for places in _whole_views(questions):
            shares = exclusive_codes([results[place] for place in places])
            for place, codes in zip(places, shares, strict=True):
                answers[place] = replace(answers[place], owned=codes)
        return answers


def object_order(question: Question) -> int:
    """The number of the expression, by which the objects of one annotator are in the order of the set."""
    return int(question.dialogue.ids["exp_id"])


def exclusive_codes(results: Sequence[SegmentationResult]) -> list[tuple[Code | None, ...]]:
    """The pixels of each result, none of them another's; frame by frame, so that one frame at a time is at full size.

    Args:
        results: of one video, with their logits, in the order that decides between equals.

    Returns:
        For each result its code on every frame, `None` where it has no pixel.
    """
    frames = []
    for frame in range(results[0].num_frames):
        owner = index_map([_claim(result, frame) for result in results])
        shares = (owner == number for number in range(1, len(results) + 1))
        frames.append([encode_mask(share) if share.any() else None for share in shares])
    return list(zip(*frames, strict=True))


def _claim(result: SegmentationResult, frame: int) -> np.ndarray:
    """Float32 `(H, W)`: the highest probability of any object of the answer that is judged to be on the frame."""
    claim = np.zeros((result.height, result.width), np.float32)
    for entry, shown in zip(result.objects, result.frame(frame).objects, strict=True):
        if shown.status != "no_target":
            claim = np.maximum(claim, entry.probabilities(frame))
    return claim


def _whole_views(questions: Sequence[Question]) -> Iterator[list[int]]:
    """For each annotator all of whose expressions are asked: their places, in the order of the objects."""
    views: dict[int, list[int]] = {}
    for place, question in enumerate(questions):
        views.setdefault(question.dialogue.ids["annotator"], []).append(place)
    for annotator, places in views.items():
        dialogues = questions[0].record.dialogues
        if len(places) == sum(dialogue.ids["annotator"] == annotator for dialogue in dialogues):
            yield sorted(places, key=lambda place: object_order(questions[place]))


__all__ = ["ContestAnswerer", "exclusive_codes", "object_order"]
