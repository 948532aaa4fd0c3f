"""What a user asks: texts, tasks, message histories and visuals, checked and brought into one form.

In: the arguments of `DeSa2VAProcessor.__call__`. Out: opened visuals, and for each sequence its `(role, text)`
messages and the visual it is about (paper section 3.1, one interface for pictures, videos, chat and segmentation).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import BatchFeature

from desa2va.processing.inputs import IMAGE_EXTENSIONS, FrameSource, MemorySource, open_visual, prefetch, shown_source

from .image_rows import sam_pixels

TASKS = ("auto", "segment", "chat", "gcg")

# A text that begins with one of these (after "please", "can you", ...) is a request; any other is a bare phrase.
# fmt: off
_REQUEST_OPENERS = frozenset((
    "segment", "find", "show", "where", "what", "which", "who", "whose", "how", "why", "is", "are", "was", "were",
    "do", "does", "did", "can", "could", "will", "would", "mark", "mask", "highlight", "outline", "locate", "detect",
    "identify", "select", "point", "give", "describe", "tell", "track", "explain", "list", "name", "count", "cut",
    "extract", "separate", "label", "draw", "answer", "look", "in", "there", "i", "please", "let", "return", "output",
    "provide", "respond", "generate",
))
# fmt: on


class DeSa2VABatch(BatchFeature):
    """A dictionary of tensors, plus `visuals` (list of `VisualInfo`), `task` and `texts` (the last user texts)."""


@dataclass
class VisualInfo:
    """One visual of a batch.

    Attributes:
        kind: `"image"` or `"video"`.
        height: of the source, pixels.
        width: of the source, pixels.
        num_frames: 1 for a picture.
        key_frames: indices of the frames in `sam_pixel_values`, rising.
        fps: frames per second, `None` where unknown.
        source: the frames at source resolution, decoded when asked for.
        sam_image_processor: SAM-2's image processor, for the frames that are no key frames.
    """

    kind: str
    height: int
    width: int
    num_frames: int
    key_frames: list[int]
    fps: float | None
    source: FrameSource
    sam_image_processor: Any = field(default=None, repr=False)

    @property
    def timestamps(self) -> list[float]:
        """Seconds of each frame since the first."""
        return self.source.timestamps

    def sam_frames(self, indices: list[int]) -> torch.Tensor:
        """SAM-2 pixels float32 `(len(indices), 3, S, S)` of any frames."""
        return sam_pixels(self.sam_image_processor, self.source.read(indices))

    def read_ahead(self, frames: Iterable[int], depth: int = 4) -> Iterator[tuple[int, np.ndarray, torch.Tensor]]:
        """Number, picture and SAM-2 pixels float32 `(3, S, S)` of the frames asked for, made on a thread in advance.

        Args:
            frames: all rising or all falling; may go on for ever, then the source decides where it ends.
            depth: how many may be made in advance.
        """
        return prefetch(self._sweep(frames), depth)

    def _sweep(self, frames: Iterable[int]) -> Iterator[tuple[int, np.ndarray, torch.Tensor]]:
        """The frames asked for, in one pass over the source."""
        frames = iter(frames)
        first = list(islice(frames, 2))
        if not first:
            return
        number, step = first[0], 1 if first[-1] >= first[0] else -1
        sweep = self.source.iterate(number, None, step)
        for wanted in chain(first, frames):
            for image in sweep:
                number += step
                if number - step == wanted:
                    yield wanted, image, sam_pixels(self.sam_image_processor, [image])[0]
                    break
            else:
                return


@dataclass
class Request:
    """One sequence to be answered: `(role, text)` messages that end with the user's, and its visual (-1: none)."""

    messages: list[tuple[str, str]]
    visual: int


def open_visuals(images: Any, videos: Any, embedded: list[tuple[str, Any]]) -> list[tuple[str, FrameSource]]:
    """Opens pictures, then videos; or those found in messages.

    Args:
        images: `None`, one picture, a list of pictures, or an array of pictures with four dimensions.
        videos: `None`, one video, or a list of videos. A list of pictures is one video.
        embedded: `(kind, source)` of the visuals in messages (`parse_messages`).

    Returns:
        `(kind, source)` of each visual.

    Raises:
        ValueError: an empty list, visuals both in messages and beside them, or one that can not be used (`load_image`,
            `open_visual`).
        FileNotFoundError: a path without a file.
    """
    if embedded and (images is not None or videos is not None):
        raise ValueError("pictures or videos are given both inside messages and as images= or videos=; use one way")
    visuals: list[tuple[str, FrameSource]] = []
    for index, (kind, source) in enumerate(embedded):
        name = f"messages[{index}] {kind}"
        visuals.append((kind, _picture(source, name) if kind == "image" else open_visual(source, name)))
    if images is not None:
        pictures = list(images) if _is_list(images) or _dimensions(images) == 4 else [images]
        if not pictures:
            raise ValueError("images is an empty list; leave it out for text alone")
        for index, picture in enumerate(pictures):
            if isinstance(picture, (list, tuple)):
                raise ValueError(f"images[{index}] is a list; one text has one picture, pass frames as videos=")
            visuals.append(("image", _picture(picture, f"images[{index}]")))
    if videos is not None:
        clips = videos if _is_list(videos) and not _is_one_video(videos) else [videos]
        clips = list(videos) if _dimensions(videos) == 5 else clips
        if not clips or (_is_list(videos) and not videos):
            raise ValueError("videos is an empty list; leave it out for pictures or text alone")
        visuals.extend(("video", open_visual(clip, f"videos[{index}]")) for index, clip in enumerate(clips))
    return visuals


def _picture(source: Any, name: str) -> FrameSource:
    frames = MemorySource([source], name)
    frames.name = shown_source(source) if isinstance(source, (str, os.PathLike)) else name
    return frames


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def _dimensions(value: Any) -> int:
    return value.ndim if isinstance(value, (np.ndarray, torch.Tensor)) else 0


def _is_one_video(videos: Any) -> bool:
    """Whether a list holds the frames of one video rather than several videos."""
    return all(
        isinstance(entry, Image.Image)
        or _dimensions(entry) in (2, 3)
        or (isinstance(entry, (str, os.PathLike)) and Path(entry).suffix.lower() in IMAGE_EXTENSIONS)
        for entry in videos
    )


def apply_task(text: str, task: str, gcg_instruction: str) -> str:
    """The text the language model reads.

    `"segment"` wraps a bare phrase (`"the red car"`) as `"Please segment the red car."` and leaves requests and
    questions as they are: texts that end with a question mark, begin with a verb of asking, or are not written in
    Latin letters. `"gcg"` appends the instruction for grounded captions. `"auto"` and `"chat"` change nothing.
    """
    if task == "gcg":
        return f"{text} {gcg_instruction}"
    if task != "segment" or text.rstrip().endswith(("?", "？")):
        return text
    words = re.findall(r"[a-z']+", text.lower())
    if not words or words[0] in _REQUEST_OPENERS:
        return text
    phrase = text.strip().rstrip(".")
    if words[0] in ("the", "a", "an", "all", "every", "each"):
        phrase = phrase[0].lower() + phrase[1:]
    return f"Please segment {phrase}."


def plan_requests(
    text: str | list[str] | None,
    conversations: list[list[tuple[str, str]]] | None,
    num_visuals: int,
    task: str,
    gcg_instruction: str,
) -> list[Request]:
    """Pairs texts with histories and visuals.

    Args:
        text: the new text of the user: one for all visuals, or a list. `None` when the histories end with it.
        conversations: histories from `parse_messages`, or `None`.
        num_visuals: visuals of the batch; 0 for text alone, 1 is shared by all texts.
        task: one of `TASKS`.
        gcg_instruction: appended with `"gcg"`; the whole text where none is given.

    Raises:
        ValueError: unknown task, empty text, numbers that do not match, or a history that does not end as it must.
    """
    if task not in TASKS:
        raise ValueError(f"task={task!r} is unknown; choose one of {', '.join(TASKS)}")
    if text is None and conversations is None:
        if task != "gcg":
            raise ValueError("nothing is asked: give text=, messages=, or points=, boxes= or masks=")
        text, task = gcg_instruction, "auto"
    texts = [text] * (len(conversations) if conversations else max(1, num_visuals)) if isinstance(text, str) else text
    if texts is not None:
        conversations = _append_texts(list(texts), conversations)
    for index, messages in enumerate(conversations):
        _check_conversation(messages, f"messages[{index}]" if text is None else f"text[{index}]")
        messages[-1] = ("user", apply_task(messages[-1][1], task, gcg_instruction))
    if num_visuals > 1 and len(conversations) != num_visuals:
        raise ValueError(
            f"{num_visuals} visuals but {len(conversations)} texts; give one text for each visual, or one visual"
        )
    visuals = range(num_visuals) if num_visuals > 1 else [num_visuals - 1] * len(conversations)
    return [Request(messages, visual) for messages, visual in zip(conversations, visuals, strict=True)]


def _append_texts(texts: list[Any], conversations: list[list[tuple[str, str]]] | None) -> list[list[tuple[str, str]]]:
    """Histories (or none) with the new texts of the user at their end."""
    if not texts:
        raise ValueError("text is an empty list; give at least one text")
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"text[{index}] must be a string, got {type(text).__name__}")
    histories = [[] for _ in texts] if conversations is None else conversations
    if len(histories) == 1:
        histories = histories * len(texts)
    if len(histories) != len(texts):
        raise ValueError(f"{len(histories)} message histories but {len(texts)} texts; give one text for each")
    return [[*history, ("user", text)] for history, text in zip(histories, texts, strict=True)]


def _check_conversation(messages: list[tuple[str, str]], name: str) -> None:
    """Raises `ValueError` unless user and assistant alternate and the user speaks last, with words."""
    roles = [role for role, _ in messages]
    turns = roles[1:] if roles[:1] == ["system"] else roles
    expected = ["user" if index % 2 == 0 else "assistant" for index in range(len(turns))]
    if turns != expected or len(turns) % 2 == 0:
        raise ValueError(f"{name}: user and assistant must alternate, beginning and ending with user, got {roles}")
    for role, text in messages:
        if role == "user" and not text.strip():
            raise ValueError(f"{name}: the text of the user is empty")


__all__ = [
    "TASKS",
    "DeSa2VABatch",
    "Request",
    "VisualInfo",
    "apply_task",
    "open_visuals",
    "plan_requests",
]
