"""Requests that join a stream while it runs, and leave it (METHOD section 6).

Enters: sentences, and the frames a stream is at. Leaves: what the trackers of the sentences see on these frames. A
request that joins is asked about the next frame and followed from there, as by a stream of its own that begins with
this frame; only the frame's encoding is shared. So nothing that is followed already changes, and what a request needs
goes with it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from desa2va.modeling_desa2va.devices import execution_device
from desa2va.modeling_desa2va.outputs import ImageFeatures, VisualAnswer
from desa2va.modeling_desa2va.tracking import FrameEncoder, TrackedFrame, absent_frame, numbered
from desa2va.processing.batch import sam_pixels
from desa2va.processing.inputs import MemorySource
from desa2va.processing.results import ObjectLabel

from .stream_answers import StreamAnswer, read_answers


class CurrentFrame:
    """The frame a stream is at: its picture and its encoding, each made at most once.

    Args:
        segmenter: encodes. info: `VisualInfo` of the video.
        images: pictures of frames being worked on, by number, where the stream keeps them.
        found: of the language pass at the start, whose encodings are at hand.
    """

    def __init__(self, segmenter: Any, info: Any, images: dict[int, np.ndarray] | None, found: VisualAnswer) -> None:
        self._segmenter, self._info, self._images, self._found = segmenter, info, images, found
        self._newest: tuple[int, ImageFeatures] | None = None

    def noting(self, encode: FrameEncoder) -> FrameEncoder:
        """An encoder whose last frame is remembered."""

        def encode_and_note(frames: Iterable[int]) -> Iterator[ImageFeatures]:
            with closing(numbered(encode, frames)) as encoded:
                for self._newest in encoded:
                    yield self._newest[1]

        return encode_and_note

    def picture(self, frame: int) -> np.ndarray:
        """The source picture, uint8 (H, W, 3)."""
        if self._images is not None and frame in self._images:
            return self._images[frame]
        return self._info.source.read([frame])[0]

    def features(self, frame: int) -> ImageFeatures:
        """The encoding, one row."""
        found = self._found
        if frame in found.known:
            return found.known[frame]
        if found.features is not None and frame in found.key_frames:
            row = found.key_frames.index(frame)
            return found.features.select(slice(row, row + 1))
        if self._newest is None or self._newest[0] != frame:
            pixels = sam_pixels(self._info.sam_image_processor, [self.picture(frame)])
            features = self._segmenter.encode_frames(pixels.to(execution_device(self._segmenter.sam)))
            self._newest = frame, features
        return self._newest[1]

    def clear(self) -> None:
        """Forgets pictures and encodings."""
        self._newest, self._images, self._found = None, None, VisualAnswer([])


@dataclass
class _Joined:
    """One request that joined.

    Attributes:
        answer: what was said. labels: of its objects. walk: yields them, frame by frame; `None` without any.
    """

    answer: StreamAnswer
    labels: list[ObjectLabel]
    walk: Generator[TrackedFrame, None, None] | None = None


@dataclass
class JoinedRequests:
    """All requests that joined one stream.

    Attributes:
        model, processor: of the stream. current: its frame. num_frames: of its video, `None` for a camera.
        strategy: of `walk_objects`. next_id: number of the next object.
        waiting: answers to come, each with task and generation arguments. joined: followed from their frames on.
        newest: the last frame that came forward.
    """

    model: Any
    processor: Any
    current: CurrentFrame
    num_frames: int | None
    strategy: str
    next_id: int
    waiting: list[tuple[StreamAnswer, str, dict[str, Any]]] = field(default_factory=list)
    joined: list[_Joined] = field(default_factory=list)
    newest: int = -1

    def follow(self, frame: int) -> tuple[list[TrackedFrame], list[ObjectLabel]]:
        """What joined requests show on a frame, and the labels of their objects; nothing on the way back."""
        if frame <= self.newest:
            return [], []
        self.newest = frame
        while self.waiting:
            self._start(frame, *self.waiting.pop(0))
        followed = [entry for entry in self.joined if entry.walk is not None]
        seen = [self._next(entry, frame) for entry in followed]
        return seen, [label for entry in followed for label in entry.labels]

    def leave(self, number: int) -> None:
        """Ends what request `number` has going."""
        self.waiting = [entry for entry in self.waiting if entry[0].number != number]
        for entry in self.joined:
            if entry.answer.number == number and entry.walk is not None:
                entry.walk.close()
        self.joined = [entry for entry in self.joined if entry.answer.number != number]

    def close(self) -> None:
        """Ends everything."""
        for entry in list(self.joined):
            self.leave(entry.answer.number)
        self.waiting.clear()

    def _start(self, first: int, answer: StreamAnswer, task: str, generation: dict[str, Any]) -> None:
        """Asks about frame `first`, the first one of the request's own stream."""
        source = MemorySource([self.current.picture(first)], "frame")
        batch = self.processor(videos=[source], text=answer.request, task=task, key_frames="first", num_key_frames=1)
        known = {0: _by_itself(self.current.features(first))}
        said = self.model.answer_key_frames(**batch, known=known, **generation)
        (spoken,), labels = read_answers(said, [(answer.request, task)], self.processor, answer.number, self.next_id)
        answer.take(spoken, first)
        self.next_id += len(labels)
        entry = _Joined(answer, labels)
        if labels:

            def encode(frames: Iterable[int]) -> Iterator[ImageFeatures]:
                for frame in frames:
                    yield self.current.features(first + frame)

            left = None if self.num_frames is None else self.num_frames - first
            entry.walk = self.model.walk_visual(said, 0, left, encode, self.strategy)
        self.joined.append(entry)

    def _next(self, entry: _Joined, frame: int) -> TrackedFrame:
        """The next frame of a request's own stream; a camera's ends where nothing is to be followed."""
        seen = next(entry.walk, None)
        if seen is None:
            segmenter = self.model.segmenter
            size, device = segmenter.sam.prompt_encoder.mask_input_size, execution_device(segmenter.sam)
            return absent_frame(frame, len(entry.labels), size, device)
        return seen


def _by_itself(features: ImageFeatures) -> ImageFeatures:
    """A copy of one row, which would hold the batch it was encoded in."""
    return ImageFeatures(
        features.high0.clone(), features.high1.clone(), features.low.clone(), position=features.position
    )


def join_seen(parts: list[TrackedFrame]) -> TrackedFrame:
    """The objects of several streams on one frame, in their order; numbers are no longer theirs."""
    first = parts[0]
    if len(parts) == 1:
        return first
    rows = [torch.cat([part[name].to(first[name]) for part in parts]) for name in ("logits", "iou", "object_score")]
    return TrackedFrame(first.frame, list(range(len(rows[0]))), *rows)


__all__ = ["CurrentFrame", "JoinedRequests", "join_seen"]
