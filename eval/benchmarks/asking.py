"""Asks a model the questions of a unit: the visual is encoded once for all that is asked about it.

Enters: questions about one picture or video, or one each about several pictures. Leaves: answers, generated greedily.
Where masks are scored, whether an answer holds a `[SEG]` is the model's own choice (METHOD section 6); where words
alone are, there is none (`showing`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Any

import torch

import desa2va
from desa2va.processing.files import mask_area
from desa2va.processing.results import ObjectResult, SegmentationResult

from .questions import FAILED, Answer, AnsweredObject, Question
from .showing import manner, opened_visual

MAX_NEW_TOKENS = 256
_UNSTABLE = ("_name_or_path", "transformers_version")
_LIBRARIES = ("torch", "transformers")
_MACHINE = re.compile("can't allocate memory|out of memory|CUDA error|cuDNN error|no space left", re.IGNORECASE)
Answerer = Callable[[Sequence[Question]], list[Answer]]


class ModelAnswerer:
    """A model with its processor, ready to be asked.

    Args:
        model: a `DeSa2VAModel` in eval mode. processor: its `DeSa2VAProcessor`.
    """

    def __init__(self, model: Any, processor: Any) -> None:
        self.model, self.processor = model, processor

    def settings(self) -> dict[str, Any]:
        """What answers depend on beside weights and questions."""
        config = {name: value for name, value in self.model.config.to_dict().items() if name not in _UNSTABLE}
        told = json.dumps([config, self.processor.to_dict()], sort_keys=True, default=str)
        return {
            "settings_sha256": hashlib.sha256(told.encode()).hexdigest(),
            "dtype": str(next(self.model.parameters()).dtype).removeprefix("torch."),
            "prompt_mode": self.model.config.prompt_mode,
            "key_frames": self.processor.key_frames,
            "num_key_frames": self.processor.num_key_frames,
            "track_strategy": self.model.config.track_strategy,
            "max_new_tokens": MAX_NEW_TOKENS,
            "decoding": "greedy, task=auto; task=chat where words alone are scored",
            "desa2va": desa2va.__version__,
            **{name: metadata.version(name) for name in _LIBRARIES},
        }

    def __call__(self, questions: Sequence[Question], **options: Any) -> list[Answer]:
        """Answers in the order of the questions; see `results`."""
        return [plain_answer(result) for result in self.results(questions, **options)]

    def results(
        self, questions: Sequence[Question], keep_logits: bool = False, **options: Any
    ) -> list[SegmentationResult]:
        """Results in the order of the questions.

        Args:
            questions: all about one record, or each about a picture of its own.
            keep_logits: as in `DeSa2VAProcessor.post_process`.
            options: further arguments of the processor, e.g. `key_frames`.

        Raises:
            ValueError, RuntimeError: what was asked can not be answered. OSError: a file has gone.
        """
        texts = [question.prompt for question in questions]
        arguments = {**opened_visual(questions), **manner(questions), **options}
        inputs = self.processor(text=texts, **arguments)
        outputs = self.model.generate(**inputs, max_new_tokens=MAX_NEW_TOKENS)
        return self.processor.post_process(outputs, inputs, keep_logits=keep_logits)


def plain_answer(result: SegmentationResult) -> Answer:
    """A result as an answer."""
    return Answer(result.status, result.reason, result.raw_text, tuple(map(plain_object, result.objects)))


def plain_object(entry: ObjectResult) -> AnsweredObject:
    """One object of a result."""
    codes = tuple(code if mask_area(code) else None for code in entry.codes)
    return AnsweredObject(
        codes, tuple(map(float, entry.iou_scores)), tuple(map(float, entry.object_scores)), entry.phrase
    )


def answer_or_fail(answerer: Answerer, questions: list[Question]) -> list[Answer]:
    """Answers to all questions; one that can not be answered fails alone, with its reason.

    Raises:
        MemoryError, OSError, RuntimeError: the machine's fault, not the question's: no memory, a file that has gone, a
            device in error. Whoever goes on later has lost nothing.
    """
    try:
        answers = answerer(questions)
    except (ValueError, RuntimeError) as error:
        if _MACHINE.search(str(error)) or isinstance(error, torch.OutOfMemoryError):
            raise
        if len(questions) > 1:
            return [answer for question in questions for answer in answer_or_fail(answerer, [question])]
        return [Answer(FAILED, " ".join(f"{type(error).__name__}: {error}".split()))]
    if len(answers) != len(questions):
        raise ValueError(f"{len(questions)} questions had {len(answers)} answers")
    return list(answers)


__all__ = [
    "MAX_NEW_TOKENS",
    "Answerer",
    "ModelAnswerer",
    "answer_or_fail",
    "opened_visual",
    "plain_answer",
    "plain_object",
]
