"""What a user asks: texts, tasks, message histories and visuals, checked and brought into one form.

In: the arguments of `DeSa2VAProcessor.__call__`. Out: opened visuals, and for each sequence its `(role, text)`
messages and the visual it is about (paper section 3.1, one interface for pictures, videos, chat and segmentation).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import BatchFeature

from desa2va.processing.inputs import (
    IMAGE_EXTENSIONS,
    MARKED_REQUEST,
    VISUAL_TASKS,
    WORDED_TASKS,
    Dialogue,
    FrameSource,
    MemorySource,
    VisualPart,
    apply_task,
    check_tasks,
    default_request,
    frame_seconds,
    is_picture,
    open_visual,
    plain_source,
    prefetch,
    shown,
    shown_source,
    task_of_each,
)

from .image_rows import sam_pixels

_NOUNS = {"image": "picture", "video": "video"}
_NO_REGION = "task='region' is about what points=, boxes= or masks= mark, but none is given for its picture or video"


class DeSa2VABatch(BatchFeature):
    """A dictionary of tensors, plus `visuals` (list of `VisualInfo`), `task`, `texts` (the last texts of the user, as
    the language model reads them) and `requests` (the same as they were given).
    """


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

    @property
    def key_seconds(self) -> list[float] | None:
        """Seconds of the key frames as the language model is told, `None` for a picture; see `frame_seconds`."""
        return frame_seconds(self.source, self.key_frames) if self.kind == "video" else None

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
    """One sequence of the batch.

    Attributes:
        messages: `(role, text)` in order.
        visual: index of the visual it is about, -1 for text alone.
        name: how errors call it.
        ending: see `Dialogue`.
        task: what is asked, one of `TASKS`.
        given: the last text of the user before the task wrapped it.
    """

    messages: list[tuple[str, str]]
    visual: int
    name: str = ""
    ending: str = "answer"
    task: str = "auto"
    given: str = ""

    @property
    def text(self) -> str:
        """The last text of the user."""
        return next(text for role, text in reversed(self.messages) if role == "user")


def open_visuals(images: Any, videos: Any, embedded: list[VisualPart]) -> list[tuple[str, FrameSource]]:
    """Opens pictures, then videos; or those found in messages.

    Args:
        images: `None`, one picture, a list of pictures, or an array of pictures with four dimensions.
        videos: `None`, one video, or a list of videos. A list of pictures is one video.
        embedded: the visuals in messages, and the places marked there (`parse_messages`).

    Returns:
        `(kind, source)` of each visual.

    Raises:
        ValueError: an empty list, visuals both in messages and beside them, or one that can not be used (`load_image`,
            `open_visual`).
        FileNotFoundError: a path without a file.
    """
    sources = [part for part in embedded if part.source is not None]
    places = [part for part in embedded if part.source is None]
    beside = images is not None or videos is not None
    if sources and (beside or places):
        other = "as images= or videos=" if beside else f"as a place without one ({places[0].name})"
        raise ValueError(f"a visual is given both inside messages ({sources[0].name}) and {other}; use one way")
    if places and not beside:
        raise ValueError(
            f"{places[0].name} marks the place of a {_NOUNS[places[0].kind]}, but none is given; put it into the "
            "message, or give images= or videos="
        )
    visuals: list[tuple[str, FrameSource]] = []
    for part in sources:
        opened = _picture(part.source, part.name) if part.kind == "image" else open_visual(part.source, part.name)
        visuals.append((part.kind, opened))
    if images is not None:
        pictures = list(images) if _is_list(images) or _dimensions(images) == 4 else [images]
        if not pictures:
            raise ValueError("images is an empty list; leave it out for text alone")
        for index, picture in enumerate(pictures):
            if isinstance(picture, (list, tuple)):
                raise ValueError(f"images[{index}] is a list; one text has one picture, pass frames as videos=")
            visuals.append(("image", _picture(picture, f"images[{index}]")))
    if videos is not None:
        if _is_list(videos):
            videos = [plain_source(entry, f"videos[{index}]") for index, entry in enumerate(videos)]
        clips = videos if _is_list(videos) and not all(_is_frame(entry) for entry in videos) else [videos]
        clips = list(videos) if _dimensions(videos) == 5 else clips
        if not clips or (_is_list(videos) and not videos):
            raise ValueError("videos is an empty list; leave it out for pictures or text alone")
        visuals.extend(("video", open_visual(clip, f"videos[{index}]")) for index, clip in enumerate(clips))
    return visuals


def _picture(source: Any, name: str) -> FrameSource:
    source = plain_source(source, name)
    frames = MemorySource([source], name)
    frames.name = shown_source(source) if isinstance(source, (str, os.PathLike)) else name
    return frames


def _is_list(value: Any) -> bool:
    """Lists, tuples, and columns of `datasets`; what holds a single picture or video is none."""
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray, memoryview))


def _dimensions(value: Any) -> int:
    return value.ndim if isinstance(value, (np.ndarray, torch.Tensor)) else 0


def _is_frame(entry: Any) -> bool:
    """Whether an entry of a list is a frame of one video rather than a video."""
    if isinstance(entry, bytes):
        return is_picture(entry)
    if isinstance(entry, (str, os.PathLike)):
        return Path(entry).suffix.lower() in IMAGE_EXTENSIONS
    return isinstance(entry, Image.Image) or _dimensions(entry) in (2, 3)


def plan_requests(
    text: str | list[str] | None,
    dialogues: list[Dialogue] | None,
    kinds: list[str],
    task: str | list[str],
    gcg_instruction: str,
    regions: Sequence[int] | None = None,
) -> list[Request]:
    """Pairs texts with histories and visuals.

    Args:
        text: the new text of the user: one for all visuals, or a list. `None` when the histories end with it, or where
            the tasks have words of their own (`WORDED_TASKS`), with or without histories.
        dialogues: histories from `parse_messages`, or `None`.
        kinds: `"image"` or `"video"` for each visual of the batch. One is shared by all texts. Histories are about a
            visual where their messages hold it or mark its place; where none does, as texts are.
        task: one of `TASKS`, or one for each request. What is about no visual is answered as with `"auto"`.
        gcg_instruction: appended with `"gcg"`; the whole text where none is given.
        regions: for each visual how many points, boxes or masks mark a region; none by default.

    Raises:
        ValueError: unknown task, a task that needs a visual or a region without one, empty text, numbers that do not
            match, or a history that does not end as it must.
    """
    tasks, marked = check_tasks(task), list(regions or [0] * len(kinds))
    _check_visuals(tasks, kinds)
    if text is None and dialogues is None:
        return _worded_requests(tasks, kinds, gcg_instruction, marked)
    texts = [text] * (len(dialogues) if dialogues else max(1, len(kinds))) if isinstance(text, str) else text
    if texts is not None and not isinstance(texts, Iterable):
        raise TypeError(f"text must be a string or a list of strings, got {shown(texts)}")
    if texts is not None:
        dialogues = _append_texts(list(texts), dialogues)
    tasks = task_of_each(task, len(dialogues))
    requests = []
    for index, (dialogue, visual) in enumerate(zip(dialogues, _owners(dialogues, kinds), strict=True)):
        name = f"messages[{index}]" if text is None else f"text[{index}]"
        request = Request(list(dialogue.messages), visual, name, dialogue.ending, tasks[index])
        if request.task == "region" and visual >= 0 and not marked[visual]:
            raise ValueError(f"{name}: {_NO_REGION}")
        worded = visual >= 0 and _is_worded(request)
        if worded:
            if request.task == "region" and marked[visual] > 1:
                raise ValueError(f"{name}: {marked[visual]} regions are marked; say in words which of them is meant")
            request.messages.append(("user", default_request(request.task, kinds[visual], gcg_instruction)))
        _check_conversation(request)
        request.given = request.text
        if visual >= 0 and dialogue.ending == "answer" and not worded:
            request.messages[-1] = ("user", apply_task(request.text, request.task, gcg_instruction))
        requests.append(request)
    return requests


def texts_of(requests: list[Request], num_visuals: int = 0) -> dict[str, list[str | None]]:
    """The entries `texts` and `requests` of `DeSa2VABatch`; without requests marks alone ask about each visual."""
    if not requests:
        return {"texts": [None] * num_visuals, "requests": [MARKED_REQUEST] * num_visuals}
    return {"texts": [request.text for request in requests], "requests": [request.given for request in requests]}


def _check_visuals(tasks: list[str], kinds: list[str]) -> None:
    """Raises `ValueError` where a task is about a picture or video and there is none."""
    for one in tasks:
        if one in VISUAL_TASKS and not kinds:
            does = "marks objects in" if one in ("segment", "gcg") else "describes what is in"
            raise ValueError(f"task={one!r} {does} a picture or video, but none is given; add images= or videos=")


def _worded_requests(tasks: list[str], kinds: list[str], gcg_instruction: str, marked: list[int]) -> list[Request]:
    """The default requests: every task about every visual, `"region"` about each of its marked regions."""
    requests = []
    for task in tasks:
        if task not in WORDED_TASKS:
            marks = "" if any(marked) else ", or points=, boxes= or masks="
            raise ValueError(f"nothing is asked with task={task!r}: give text= or messages={marks}")
        for visual, kind in enumerate(kinds):
            count = marked[visual] if task == "region" else 1
            if not count:
                raise ValueError(_NO_REGION)
            for number in range(1, count + 1):
                words = default_request(task, kind, gcg_instruction, number)
                requests.append(Request([("user", words)], visual, f"task {task!r}", task=task, given=words))
    return requests


def _is_worded(request: Request) -> bool:
    """Whether a history ends with an answer and its task asks the next thing in words of its own."""
    answered = bool(request.messages) and request.messages[-1][0] == "assistant"
    return answered and request.ending == "answer" and request.task in WORDED_TASKS


def _owners(dialogues: list[Dialogue], kinds: list[str]) -> list[int]:
    """The visual of each dialogue, -1 for text alone."""
    places = [index for index, dialogue in enumerate(dialogues) if dialogue.visual is not None]
    holders = places or (list(range(len(dialogues))) if kinds else [])
    if len(kinds) not in (1, len(holders)):
        what = "conversations hold or mark the place of one" if places else "texts"
        raise ValueError(
            f"{len(kinds)} visuals but {len(holders)} {what}; give one visual to each text, or one visual to all"
        )
    owners = [-1] * len(dialogues)
    for number, index in enumerate(holders):
        owners[index] = 0 if len(kinds) == 1 else number
    for index in places:
        part, kind = dialogues[index].visual, kinds[owners[index]]
        if part.kind != kind:
            raise ValueError(f"{part.name} marks the place of a {_NOUNS[part.kind]}, but is given a {_NOUNS[kind]}")
    return owners


def _append_texts(texts: list[Any], dialogues: list[Dialogue] | None) -> list[Dialogue]:
    """Histories (or none) with the new texts of the user at their end."""
    if not texts:
        raise ValueError("text is an empty list; give at least one text")
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"text[{index}] must be a string, got {type(text).__name__}")
    histories = [Dialogue([]) for _ in texts] if dialogues is None else dialogues
    if len(histories) == 1:
        histories = histories * len(texts)
    if len(histories) != len(texts):
        raise ValueError(f"{len(histories)} message histories but {len(texts)} texts; give one text for each")
    return [
        Dialogue([*history.messages, ("user", text)], history.visual)
        for history, text in zip(histories, texts, strict=True)
    ]


def _check_conversation(request: Request) -> None:
    """Raises `ValueError` unless user and assistant alternate, the right one speaks last, and users have words."""
    roles = [role for role, _ in request.messages]
    turns = roles[1:] if roles[:1] == ["system"] else roles
    expected = ["user" if index % 2 == 0 else "assistant" for index in range(len(turns))]
    last = {"answer": ("user",), "unfinished": ("assistant",), "closed": ("user", "assistant")}[request.ending]
    if turns != expected or not turns or turns[-1] not in last:
        raise ValueError(
            f"{request.name}: user and assistant must alternate, beginning with user and ending with "
            f"{' or '.join(last)}, got {shown(roles)}"
        )
    for role, text in request.messages:
        if role == "user" and not text.strip():
            raise ValueError(f"{request.name}: the text of the user is empty")


__all__ = [
    "DeSa2VABatch",
    "Request",
    "VisualInfo",
    "open_visuals",
    "plan_requests",
    "texts_of",
]
