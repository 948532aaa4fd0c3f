"""State of an interactive session: its objects, how they change, and how changes are taken back (METHOD section 6).

Enters: checked prompts. Leaves: `FrameResult`s. Every edit either happens as a whole or leaves no trace; the states
before it are kept, which cost little (`store.py`), so undo restores them exactly: SAM-2's memory included, since
that is always made from the records they name.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any
from weakref import WeakSet

import numpy as np
import torch
from torch.nn import functional as F

from desa2va.configuration.integers import as_integer, is_integer
from desa2va.modeling_desa2va.outputs import MaskPrediction
from desa2va.modeling_desa2va.segmenter import DeSa2VASegmenter
from desa2va.processing.batch import VisualInfo
from desa2va.processing.files import MaskOptions
from desa2va.processing.inputs import shown
from desa2va.processing.results import FrameResult, ObjectLabel, frame_result

from .header import THUMBNAIL_SIDE
from .memory import SessionMemory
from .store import FrameIndex, GivenPrompt, ObjectState
from .walk import plan_walks, walk_session


class SessionCore:
    """Objects of one video and everything known of them.

    Args:
        segmenter: in eval mode. video: a `FrameSource`. sam_image_processor: the processor's.
        options: complete; how logits become masks.

    Attributes:
        objects: number -> state. next_id: number of the next object. memory: prompts, corrects and follows objects.
    """

    def __init__(
        self, segmenter: DeSa2VASegmenter, video: Any, sam_image_processor: Any, options: MaskOptions
    ) -> None:
        self.video, self.options = video, options
        info = VisualInfo(
            kind="video",
            height=video.height,
            width=video.width,
            num_frames=len(video),
            key_frames=[],
            fps=video.fps,
            source=video,
            sam_image_processor=sam_image_processor,
        )
        self.memory = SessionMemory(segmenter, info, options)
        self.objects: dict[int, ObjectState] = {}
        self.next_id = 0
        self._history: list[tuple[dict[int, ObjectState], int]] = []
        self._version = 0
        self._walks: WeakSet = WeakSet()

    def close(self) -> None:
        """Ends walks, and frees memory and temporary file."""
        for walk in list(self._walks):
            walk.close()
        self.memory.cache.clear()
        self.memory.store.close()
        self.objects, self._history = {}, []

    def frame_number(self, frame: int) -> int:
        """`frame` as an `int`; raises `ValueError` unless it is one of the video."""
        if not is_integer(frame) or not 0 <= frame < len(self.video):
            last = len(self.video) - 1
            raise ValueError(f"frame {shown(frame)} is not in {self.video.name}, which has frames 0 to {last}")
        return as_integer(frame, "frame")

    def state(self, object_id: int) -> ObjectState:
        """An object; raises `ValueError` where there is none, or none any more."""
        number = as_integer(object_id, "object_id") if is_integer(object_id) else None
        if number not in self.objects:
            known = ", ".join(str(number) for number in self.objects) or "none"
            past = " any more" if number is not None and 0 <= number < self.next_id else ""
            raise ValueError(f"there is no object {shown(object_id)}{past}; the session has: {known}")
        return self.objects[number]

    @cached_property
    def thumbnails(self) -> list[list[int]]:
        """Grey levels of the first, the middle and the last frame, each shrunk to a tiny square: knows the video."""
        frames = np.stack(self.video.read([0, len(self.video) // 2, len(self.video) - 1]))
        grey = torch.from_numpy(frames).float().mean(dim=-1)[:, None]
        return F.interpolate(grey, (THUMBNAIL_SIDE, THUMBNAIL_SIDE), mode="area").flatten(1).round().int().tolist()

    # ------------------------------------------------------------------------------------------------ edits

    @contextmanager
    def edit(self) -> Iterator[None]:
        """An edit that can be undone, and leaves no trace where it fails."""
        before = {number: state.copy() for number, state in self.objects.items()}, self.next_id
        self._version += 1
        try:
            yield
        except BaseException:
            self.objects, self.next_id = before
            raise
        self._history.append(before)

    def undo(self) -> None:
        """Restores the state before the last edit; raises `ValueError` where there was none."""
        if not self._history:
            raise ValueError("nothing to undo: the session has had no edit since it was started, loaded or cleared")
        self.objects, self.next_id = self._history.pop()
        self._version += 1

    def start(
        self,
        name: str | None,
        seg_probability: float,
        prompts: dict[int, tuple[GivenPrompt, MaskPrediction | None]],
        forced: bool = False,
        denied: dict[int, float] | None = None,
    ) -> int:
        """A new object; all its frames wait: from its first prompted one forwards, and then backwards.

        Args:
            name: what results call it. seg_probability: of its `[SEG]`, 1 without words.
            prompts: frame -> what is given there, and the scores and mask to report in place of SAM-2's own.
            forced: see `ObjectResult`. denied: see `ObjectState`.

        Returns:
            Its number.
        """
        state = ObjectState(self.next_id, name, FrameIndex.empty(len(self.video)), seg_probability, forced=forced)
        state.denied = dict(denied or {})
        for frame in sorted(prompts, reverse=True):
            self.memory.prompt(state, frame, *prompts[frame])
        state.forward, state.backward = state.edited, state.edited - 1 if state.edited > 0 else None
        self.objects[state.object_id] = state
        self.next_id += 1
        return state.object_id

    def correct(self, state: ObjectState, frame: int, given: GivenPrompt, answer: MaskPrediction | None) -> None:
        """Prompts an object on one more frame: the frames from there on wait, earlier ones only if they did before.

        Whoever corrects knows more than the words did: what they denied from there on is forgotten.
        """
        self.memory.prompt(state, frame, given, answer)
        state.denied = {other: score for other, score in state.denied.items() if other < frame}
        state.forward = frame if state.forward is None else min(frame, state.forward)
        if state.backward is not None and frame <= state.backward:
            state.backward = frame - 1 if frame > 0 else None

    # ------------------------------------------------------------------------------------------------ results

    def propagate(self, states: list[ObjectState], start: int | None, direction: str | None) -> Iterator[FrameResult]:
        """Walks the video (see `plan_walks`) and yields the results of all objects, frame by frame."""
        walk = self._propagate(states, start, direction)
        self._walks.add(walk)
        return walk

    @torch.no_grad()
    def _propagate(self, states: list[ObjectState], start: int | None, direction: str | None) -> Iterator[FrameResult]:
        self._version += 1
        version = self._version
        forward, backward = plan_walks(states, start, direction)
        for frame in walk_session(self.memory, states, forward, backward):
            yield self.result(frame)
            if self._version != version:
                raise RuntimeError(
                    "the session was edited, or propagated elsewhere, while this loop went on; leave the loop, then "
                    "call propagate again: it goes on with what waits"
                )

    def result(self, frame: int, only: ObjectState | None = None) -> FrameResult:
        """One frame with every object that has a record there, or with one of them."""
        states = [state for state in self.objects.values() if frame in state.index] if only is None else [only]
        records = [self.memory.record(state, frame) for state in states]
        size = self.memory.sam.prompt_encoder.mask_input_size
        prediction = MaskPrediction(
            logits=torch.stack([record.logits for record in records]) if records else torch.zeros(0, *size),
            iou=torch.tensor([record.iou for record in records]),
            object_score=torch.tensor(
                [s.denied.get(frame, record.object_score) for s, record in zip(states, records, strict=True)]
            ),
        )
        labels = [ObjectLabel(s.object_id, s.name, 0, s.seg_probability, s.forced) for s in states]
        timestamp, size = float(self.video.timestamps[frame]), (self.video.height, self.video.width)
        return frame_result(frame, timestamp, size, prediction, labels, self.options)


__all__ = ["SessionCore"]
