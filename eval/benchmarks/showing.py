"""How a question is put to a processor: what of its visual is shown, and whether masks may come.

Enters: questions about one record, or each about a picture of its own. Leaves: arguments of a processor. Where words
alone are scored (`SPOKEN`), a `[SEG]` is forbidden (`task="chat"`), regions are outlined, all pictures of a question
are shown, and of a video the frames that `shown_frames` says. (Engineering; paper section 4.1.)
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from desa2va.processing.files import decode_mask
from desa2va.processing.inputs import draw_regions, load_image, open_visual
from desa2va.training.data.readers import shown_frames
from desa2va.training.data.records import Record

from .questions import Question

SPOKEN = ("choice", "unlabelled_choice", "yes_no", "open", "region")


def opened_visual(questions: Sequence[Question]) -> dict[str, list[Any]]:
    """The visuals of questions as arguments of a processor: `images` or `videos`, one that all share only once."""
    records = {id(question.record): question.record for question in questions}
    if any(question.dialogue.regions for question in questions):
        return {"images": [_marked(question) for question in questions]}
    kind = "videos" if questions[0].record.is_video else "images"
    return {kind: [_opened(record, _is_spoken(questions)) for record in records.values()]}


def manner(questions: Sequence[Question]) -> dict[str, Any]:
    """The other arguments: the task, and for spoken answers about videos the frames that are shown.

    Raises:
        ValueError: questions about different parts of one video.
    """
    if not _is_spoken(questions):
        return {"task": "auto"}
    record = questions[0].record
    if not record.is_video:
        return {"task": "chat"}
    parts = {tuple(shown_frames(record, question.dialogue)) for question in questions}
    if len(parts) > 1:
        raise ValueError(f"{record.name}: questions about different parts of a video are asked one by one")
    return {"task": "chat", "key_frames": list(parts.pop())}


def _is_spoken(questions: Sequence[Question]) -> bool:
    return all(question.dialogue.kind in SPOKEN for question in questions)


def _opened(record: Record, spoken: bool) -> Any:
    """The picture's name, or the frames with the rate that the data set states."""
    if not record.is_video:
        return record.media[0] if record.media else record.paths[0]
    if spoken and not record.of_pictures:
        return record.paths[0]
    if record.stride != 1 or not record.of_pictures:
        raise ValueError(f"{record.name}: benchmarks with masks ask about frames in picture files, not a video file")
    if spoken:
        return open_visual(_on_one_size(record), record.name)
    return open_visual(list(record.media or record.paths), record.name, fps=record.fps)


def _marked(question: Question) -> np.ndarray:
    """The picture with its regions outlined, as training shows them: uint8 `(H, W, 3)`."""
    picture = load_image(_opened(question.record, True))
    return draw_regions(picture, np.stack([decode_mask(code) for code in question.dialogue.regions]))


def _on_one_size(record: Record) -> list[np.ndarray]:
    """The pictures of a question, each at the upper left of a white picture of the record's size."""
    shown = []
    for path, content in zip(record.paths, record.media, strict=True):
        picture = load_image(io.BytesIO(content), path)
        canvas = np.full((*record.size, 3), 255, np.uint8)
        canvas[: picture.shape[0], : picture.shape[1]] = picture
        shown.append(canvas)
    return shown


__all__ = ["SPOKEN", "manner", "opened_visual"]
