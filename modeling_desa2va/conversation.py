"""A conversation about one picture or video, turn by turn (METHOD section 6; Sa2VA's image and video chat).

Enters: one visual, and one text after the other. Leaves: one `SegmentationResult` per turn, whose objects are numbered
through the conversation. Every answer is that of a fresh call with the whole history; what earlier turns computed is
used again: keys and values of the language model, and SAM-2's encodings of frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from desa2va.configuration.integers import is_integer
from desa2va.processing.inputs import (
    WORDED_TASKS,
    FrameSource,
    MemorySource,
    load_image,
    open_visual,
    refuse_without_video,
    shown,
)
from desa2va.processing.results import ObjectResult, SegmentationResult

from .language import ReadTokens
from .tracking import KeptEncodings, Visual, batch_visuals, encode_lazily

_UNMARKED: dict[str, Any] = {}


@dataclass
class Turn:
    """What was said once.

    Attributes:
        text: of the user, as the model read it (a bare phrase is wrapped, see `apply_task`). result: the answer.
        marks: arguments of the processor that mark regions of the picture in this turn; empty without any.
        num_read: tokens that had been read when it was over.
    """

    text: str
    result: SegmentationResult
    marks: dict[str, Any]
    num_read: int


class DeSa2VAConversation:
    """Several turns about one picture or video.

    A further turn encodes no picture: the language model reads the new words, and SAM-2's encodings are at hand.
    Memory is bounded: keys and values of at most the processor's `max_length` tokens and one answer, and at most 1 GiB
    of encodings (frames of a long video that do not fit are encoded again where a turn tracks objects through them).
    `close`, or the end of the `with` block, frees both; results stay.

    Args:
        model: a `DeSa2VAModel` in eval mode, whose weights do not change meanwhile. processor: its
            `DeSa2VAProcessor`.
        image: the picture, or video: the video; in any form that the processor takes.
        key_frames, num_key_frames: of a video, as the processor takes them.

    Attributes:
        source: the opened visual.

    Raises:
        ValueError: not exactly one visual, one that can not be used, key frames of a picture, or a model in training
            mode.
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        image: Any = None,
        video: Any = None,
        key_frames: Any = None,
        num_key_frames: int | None = None,
    ) -> None:
        if (image is None) == (video is None):
            raise ValueError("a conversation is about one picture or one video: give image= or video=")
        if model.training:
            raise ValueError("a conversation needs eval mode: call .eval() on the model first")
        self._model, self._processor = model, processor
        self._kind = "video" if image is None else "image"
        refuse_without_video([self._kind], key_frames=key_frames, num_key_frames=num_key_frames)
        self.source: FrameSource = open_visual(video) if image is None else MemorySource([load_image(image)], "image")
        self._visual = {
            f"{self._kind}s": [self.source if image is None else self.source.read([0])[0]],
            "key_frames": key_frames,
            "num_key_frames": num_key_frames,
        }
        self._turns: list[Turn] = []
        self._next_id, self._first_key_frame, self._closed = 0, 0, False
        self._read, self._encodings = ReadTokens(model.mllm), KeptEncodings()
        self._read_marks = _UNMARKED

    # ------------------------------------------------------------------------------------------------ turns

    def ask(
        self,
        text: str | None = None,
        task: str = "auto",
        *,
        objects: Sequence[int] | None = None,
        points: Any = None,
        boxes: Any = None,
        masks: Any = None,
        **generation: Any,
    ) -> SegmentationResult:
        """The next turn.

        Regions are drawn on the picture (of a video: on its first key frame), as in `DeSa2VAProcessor`, and stay there
        until a turn marks others, or none with `objects=[]`. Where they change the language model sees another
        picture, and reads it and the history once more.

        Args:
            text: what the user says; may be omitted where the task has words of its own (`"caption"`, `"gcg"`, and
                `"region"` with one region). task: see `DeSa2VAProcessor`.
            objects: numbers of objects of earlier turns, whose masks are marked.
            points, boxes, masks: regions marked otherwise, see `DeSa2VAProcessor`.
            generation: arguments of `generate` (`max_new_tokens`, `streamer`, `verify`, `return_branches`, ...).

        Returns:
            The answer. Its objects go on with the numbers of the earlier ones, and no number is used twice.

        Raises:
            ValueError: the conversation is closed, nothing or more than one thing is asked, an unknown object, one
                that has no mask where regions are drawn, or anything that processor or `generate` refuse; the
                conversation is as it was before.
            TypeError: a text that is none, as a list of texts.
        """
        self._check_open()
        if text is not None and not isinstance(text, str):
            raise TypeError(f"a turn has one text, got {shown(text)}")
        if text is None and not (isinstance(task, str) and task in WORDED_TASKS):
            raise ValueError(f"nothing is asked in this turn with task={task!r}: give text=")
        marks = self._new_marks(objects, {"points": points, "boxes": boxes, "masks": masks})
        history = {"messages": self.messages} if self._turns else {}
        batch = self._processor(text=text, task=task, **self._visual, **history, **marks)
        if len(batch["texts"]) != 1:
            raise ValueError(f"a turn asks one thing, but {len(batch['texts'])} regions are marked: give text=")
        if marks is not self._read_marks:
            self._read.clear()
            self._read_marks = marks
        result = self._answer(batch, generation)
        result.number_from(self._next_id)
        self._next_id += len(result.objects)
        self._turns.append(Turn(batch["texts"][0], result, marks, len(self._read.ids)))
        return result

    def undo(self) -> None:
        """Takes the last turn back, and frees what was remembered of it. Numbers of its objects are not used again.

        Raises:
            ValueError: there is no turn, or the conversation is closed.
        """
        self._check_open()
        if not self._turns:
            raise ValueError("nothing to undo: the conversation has no turn")
        marks = self._turns.pop().marks
        self._read.crop(self._turns[-1].num_read if self._turns and marks is self._marks else 0)

    def edit(self, text: str | None = None, task: str = "auto", **more: Any) -> SegmentationResult:
        """Puts another turn in the place of the last one; arguments as in `ask`. If it fails the last one stays.

        Raises:
            ValueError: there is no turn, or as `ask`.
        """
        self._check_open()
        if not self._turns:
            raise ValueError("nothing to edit: the conversation has no turn")
        turn = self._turns.pop()
        try:
            return self.ask(text, task, **more)
        except BaseException:
            self._turns.append(turn)
            raise

    # ------------------------------------------------------------------------------------------------ history

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The history as `processor(messages=...)` takes it: the place of the visual, texts, answers with `[SEG]`."""
        messages: list[dict[str, Any]] = []
        for turn in self._turns:
            messages.append({"role": "user", "content": turn.text})
            messages.append({"role": "assistant", "content": turn.result.raw_text})
        if messages:
            messages[0]["content"] = [{"type": self._kind}, {"type": "text", "text": self._turns[0].text}]
        return messages

    @property
    def results(self) -> list[SegmentationResult]:
        """The answers so far."""
        return [turn.result for turn in self._turns]

    @property
    def objects(self) -> dict[int, ObjectResult]:
        """Number -> object, of all turns."""
        return {entry.object_id: entry for result in self.results for entry in result.objects}

    @property
    def num_bytes(self) -> int:
        """Bytes of tensors that are kept for the next turn."""
        return self._read.num_bytes + self._encodings.num_bytes

    def close(self) -> None:
        """Frees keys, values and encodings; safe to call twice. History and results stay readable."""
        self._read.clear()
        self._encodings.clear()
        self._closed = True

    def __enter__(self) -> DeSa2VAConversation:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    # ------------------------------------------------------------------------------------------------ inside

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("this conversation is closed; start a new one")

    @property
    def _marks(self) -> dict[str, Any]:
        """What is marked now."""
        return self._turns[-1].marks if self._turns else _UNMARKED

    def _new_marks(self, objects: Sequence[int] | None, regions: dict[str, Any]) -> dict[str, Any]:
        """What is marked from the next turn on: as before where nothing is said."""
        given = {name: value for name, value in regions.items() if value is not None}
        if objects is None:
            return given or self._marks
        if given:
            raise ValueError(f"regions are marked by objects= or by {next(iter(given))}=, not both")
        return {"masks": [self._mask_of(number) for number in objects]} if len(objects) else _UNMARKED

    def _mask_of(self, number: int) -> np.ndarray:
        """The mask of an object where regions are drawn, bool (H, W)."""
        known = self.objects
        if not is_integer(number) or number not in known:
            names = ", ".join(map(str, known)) or "none"
            raise ValueError(f"there is no object {shown(number)}; the conversation has: {names}")
        mask = known[number].mask(self._first_key_frame)
        if not mask.any():
            raise ValueError(
                f"object {number} has no pixel on frame {self._first_key_frame}, where regions are drawn; mark one "
                "that is seen there"
            )
        return mask

    @torch.no_grad()
    def _answer(self, batch: Any, generation: dict[str, Any]) -> SegmentationResult:
        """Answers one turn and keeps what it encoded."""
        model, kept = self._model, self._encodings
        shown_visuals = batch_visuals(batch["visuals"], batch["sam_frame_visual"])
        self._first_key_frame = batch["visuals"][0].key_frames[0]
        mine = {"known": kept.frames, "read_tokens": self._read, "processor": self._processor}
        answer = model.answer_key_frames(**batch, **mine, **generation)
        seen = answer.visuals[0]
        for row, frame in enumerate(seen.key_frames if seen.features is not None else ()):
            kept.put(frame, seen.features.select(slice(row, row + 1)))

        def encoder(visual: Visual) -> Any:
            return kept.keeping(encode_lazily(model.segmenter, visual.read))

        output = model.carry_answer(answer, shown_visuals, encoder)
        return self._processor.post_process(output, batch)[0]


__all__ = ["DeSa2VAConversation", "Turn"]
