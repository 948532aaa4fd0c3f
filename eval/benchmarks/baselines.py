"""Who else could be asked: the floor and the ceiling of a benchmark, in the same harness.

Enters: questions with their truth. Leaves: answers of a predictor that ignores the words and takes the whole picture;
of SAM-2 when a box or a point of the true mask tells it what is meant: what perfect understanding would be worth with
this SAM-2; or of the model itself when the truth chooses its key frames: what a perfect choice would be worth.
(Engineering; the figures to read paper section 4.1 by.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from desa2va.eval.metrics.video import jaccard
from desa2va.processing.files import encode_mask

from .asking import ModelAnswerer, opened_visual, plain_object
from .questions import Answer, AnsweredObject, Question

MOST_CHOICES = 32  # single frames that are tried, spread evenly over a longer video


def whole_picture(questions: Sequence[Question]) -> list[Answer]:
    """Every pixel of every frame, whatever was asked."""
    answers = []
    for question in questions:
        num_frames, *size = question.shape
        codes, ones = (encode_mask(np.ones(size, bool)),) * num_frames, (1.0,) * num_frames
        answers.append(Answer("ok", objects=(AnsweredObject(codes, ones, ones),)))
    return answers


class OraclePrompt:
    """SAM-2 with a true prompt on the frame that shows most of the target, and its memory on the others.

    Several objects that are meant together have one box. Where nothing fits, nothing is marked.

    Args:
        model: a `DeSa2VAModel` in eval mode. processor: its processor. kind: `"mask"`, `"box"`, or `"point"`: the
            pixel of the target nearest to its centre of mass.
    """

    def __init__(self, model: Any, processor: Any, kind: str) -> None:
        self.model, self.processor, self.kind = model, processor, kind

    def __call__(self, questions: Sequence[Question]) -> list[Answer]:
        """Answers in the order of the questions, any number about one visual."""
        return [self._answer(question) for question in questions]

    def _answer(self, question: Question) -> Answer:
        truth = question.truth()
        areas = truth.sum(axis=(1, 2))
        if not areas.any():
            return Answer("no_target", "nothing fits")
        frame = int(areas.argmax())
        prompt = self._prompt(truth[frame])
        inputs = self.processor(**opened_visual([question]), **prompt, **self._frame(question, frame))
        result = self.processor.post_process(self.model.generate(**inputs), inputs)[0]
        return Answer(result.status, result.reason, objects=tuple(map(plain_object, result.objects)))

    def _prompt(self, mask: np.ndarray) -> dict[str, Any]:
        rows, columns = np.nonzero(mask)
        if self.kind == "mask":
            return {"masks": mask}
        if self.kind == "box":
            return {"boxes": [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]]}
        nearest = int(((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2).argmin())
        return {"points": [[[columns[nearest] + 0.5, rows[nearest] + 0.5]]]}

    @staticmethod
    def _frame(question: Question, frame: int) -> dict[str, Any]:
        return {"key_frames": [frame]} if question.record.is_video else {}


class OracleKeyFrames:
    """The model's own answer with the key frames that suit it best, which the truth chooses for every question.

    Tried are the processor's own choice, and every frame alone: of a video of more than `MOST_CHOICES` frames so many,
    spread evenly. The best is the one with the highest J; among equals the processor's own, then the earliest frame.

    Args:
        asked: the model.
    """

    def __init__(self, asked: ModelAnswerer) -> None:
        self.asked = asked

    def __call__(self, questions: Sequence[Question]) -> list[Answer]:
        """Answers in the order of the questions, any number about one video."""
        truths = [question.truth() for question in questions]
        best = [(-1.0, Answer("no_seg_token"))] * len(questions)
        for choice in self._choices(questions[0]):
            for place, answer in enumerate(self.asked(questions, **choice)):
                score = float(jaccard(answer.mask(questions[place]), truths[place]).mean())
                if score > best[place][0]:
                    best[place] = score, answer
        return [answer for _, answer in best]

    @staticmethod
    def _choices(question: Question) -> list[dict[str, Any]]:
        count = question.record.num_frames
        frames = np.unique(np.linspace(0, count - 1, min(count, MOST_CHOICES)).round().astype(int))
        return [{}, *({"key_frames": [int(frame)]} for frame in frames)]


__all__ = ["MOST_CHOICES", "OracleKeyFrames", "OraclePrompt", "whole_picture"]
