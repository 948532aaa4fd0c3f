"""Answers to the variants of `robustness`: words, pictures written anew, clicks for SAM-2, boxes there and back.

Enters: questions about one record whose dialogues are named after their variant. Leaves: answers in their order.
(Engineering; no paper section.)
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image

from desa2va.training.data.record_media import read_frames
from desa2va.training.data.records import Record

from .asking import ModelAnswerer
from .baselines import OraclePrompt
from .questions import Answer, Question

CLICKS = ("point", "box", "mask")
SHAPES = ("wide", "tall")
RECODINGS = {"jpeg60": 60, "jpeg75": 75, "jpeg85": 85, "jpeg95": 95, "darker": 0.95, "brighter": 1.05}
ELONGATION = 8
_CERTAIN = 9.0  # a logit


class RobustAnswerer:
    """A model that is asked in every way.

    Args:
        asked: the model.
    """

    def __init__(self, asked: ModelAnswerer) -> None:
        self.asked = asked
        self._clicks = {kind: OraclePrompt(asked.model, asked.processor, kind) for kind in CLICKS}

    def __call__(self, questions: Sequence[Question]) -> list[Answer]:
        """Answers in the order of the questions; those in words about the picture as it is share its encodings."""
        in_words = [place for place, question in enumerate(questions) if _treatment(question) is None]
        answers: dict[int, Answer] = {}
        if in_words:
            answers = dict(zip(in_words, self.asked([questions[place] for place in in_words]), strict=True))
        for place, question in enumerate(questions):
            if place not in answers:
                answers[place] = self._treated(question, str(_treatment(question)))
        return [answers[place] for place in range(len(questions))]

    def _treated(self, question: Question, treatment: str) -> Answer:
        if treatment in RECODINGS:
            (answer,) = self.asked([replace(question, record=recoded(question.record, treatment))])
            return answer
        if treatment in CLICKS:
            (answer,) = self._clicks[treatment]([question])
            return answer
        return Answer("ok", text=json.dumps(round_trip(self.asked.processor, question, treatment)))


def _treatment(question: Question) -> str | None:
    """What is done beside asking in words."""
    name = str(question.dialogue.ids["variant"]).removeprefix("other_")
    return name if name in RECODINGS or name in CLICKS or name in SHAPES else None


def recoded(record: Record, name: str) -> Record:
    """The record with its picture, or every frame, written anew as `RECODINGS` says."""
    amount = RECODINGS[name]
    frames = read_frames(record, list(range(record.num_frames)))
    return replace(record, media=tuple(_written(frame, amount) for frame in frames))


def _written(frame: np.ndarray, amount: float) -> bytes:
    """A JPEG of a whole quality, or a PNG of other brightness."""
    file = io.BytesIO()
    if isinstance(amount, int):
        Image.fromarray(frame).save(file, format="JPEG", quality=amount)
    else:
        Image.fromarray((frame * amount).round().clip(0, 255).astype(np.uint8)).save(file, format="PNG")
    return file.getvalue()


def round_trip(processor: Any, question: Question, shape: str) -> dict[str, float | None]:
    """How far a box is off after a way through the processor and back, on a picture of 8:1 or 1:8.

    Args:
        processor: of the model. question: whose target's box is laid on the long picture. shape: `"wide"` or `"tall"`.

    Returns:
        Largest distances of the four sides. `error_px`: from the box to the prompt that SAM-2 gets, taken back, in
        source pixels. `seen_px`: from that prompt to the box as SAM-2's picture shows it, in pixels of that picture.
        `mask_px`: from the box to that of the mask that went in at SAM-2's low resolution and came back, in source
        pixels. The last two are `None` where the box is too narrow to be seen at that resolution.
    """
    truth = question.truth()
    rows, columns = np.nonzero(truth[int(truth.sum(axis=(1, 2)).argmax())])
    height, width = question.record.size
    long = (height, max(ELONGATION * height, width)) if shape == "wide" else (max(ELONGATION * width, height), width)
    down, across = ((long[0] - height) * 2 // 3, (long[1] - width) * 2 // 3)
    x0, x1 = int(columns.min()) + across, int(columns.max()) + 1 + across
    y0, y1 = int(rows.min()) + down, int(rows.max()) + 1 + down
    box = np.array([x0, y0, x1, y1], float)
    mask = np.zeros(long, bool)
    mask[y0:y1, x0:x1] = True
    picture = np.repeat(mask[..., None], 3, axis=2).astype(np.uint8) * 255
    inputs = processor(images=picture, boxes=box, masks=mask)
    prompt = inputs["prompt_boxes"][0].double().numpy()
    side = processor.sam_image_processor.size["height"]
    back = prompt * np.tile([long[1] / side, long[0] / side], 2)
    pixels = inputs["sam_pixel_values"][0].mean(dim=0).numpy()
    seen = _sides(pixels > (pixels.min() + pixels.max()) / 2)
    returned = _returned_box(processor, inputs)
    return {
        "error_px": float(np.abs(back - box).max()),
        "seen_px": None if seen is None else float(np.abs(seen - prompt).max()),
        "mask_px": None if returned is None else float(np.abs(returned - box).max()),
    }


def _returned_box(processor: Any, inputs: Any) -> np.ndarray | None:
    """The box of the mask that a perfect SAM-2 would return: the very logits that it was given."""
    one = torch.ones(1)
    outputs = SimpleNamespace(
        object_sequence=torch.zeros(1, dtype=torch.long),
        seg_probability=one,
        track_logits=[inputs["prompt_masks"]],
        track_iou=[one],
        track_object_score=[one * _CERTAIN],
    )
    (result,) = processor.post_process(outputs, inputs, mask_threshold=0.0, object_score_threshold=0.0)
    (box,) = result.objects[0].boxes
    return None if box is None else np.array(box, float)


def _sides(mask: np.ndarray) -> np.ndarray | None:
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return None
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], float)


__all__ = ["CLICKS", "RECODINGS", "SHAPES", "RobustAnswerer", "recoded", "round_trip"]
