"""Encoded frames one after the other, in batches of bounded size.

Enters: the visuals of a batch, or any reader of SAM-2 pixels. Leaves: a `FrameEncoder`, which the tracker asks for the
features of frames (METHOD section 6: every frame is encoded once).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch

from desa2va.modeling_desa2va.outputs import ImageFeatures
from desa2va.modeling_desa2va.segmenter import DeSa2VASegmenter

from .encoder_batches import BatchedEncoder

# Frames encoded at once while a video is walked: their features are all held (88 MB each for SAM-2 large in float32).
LOOK_AHEAD = 4

# Yields the encodings of the frames asked for, one frame at a time and in that order; lazily. The frames asked for may
# go on for ever (a camera); then it ends where the source does.
FrameEncoder = Callable[[Iterable[int]], Iterator[ImageFeatures]]


@dataclass
class Visual:
    """One picture or video: its key frames in the batch, and access to the other frames.

    Attributes:
        rows: (K,) its rows of `sam_pixel_values`. key_frames: their frame numbers. num_frames: T.
        read: yields SAM-2 pixels (3, S, S) of the frames asked for, all rising or all falling; lazily.
    """

    rows: torch.Tensor
    key_frames: list[int]
    num_frames: int
    read: Callable[[Iterable[int]], Iterator[torch.Tensor]]

    @property
    def slice(self) -> slice:
        """`rows`, which are adjacent."""
        return slice(int(self.rows[0]), int(self.rows[-1]) + 1)


def batch_visuals(visuals: list[Any] | None, frame_visual: torch.Tensor | None) -> list[Visual]:
    """Every visual of the batch with its rows of the SAM-2 frames."""
    if frame_visual is None:
        return []
    shown = []
    for number in range(int(frame_visual.max()) + 1 if len(frame_visual) else 0):
        rows = (frame_visual == number).nonzero()[:, 0].cpu()
        if visuals is None:
            shown.append(Visual(rows, list(range(len(rows))), len(rows), lambda frames: iter(())))
        else:
            info = visuals[number]
            shown.append(Visual(rows, list(info.key_frames), info.num_frames, frame_reader(info)))
    return shown


def frame_reader(
    info: Any, images: dict[int, np.ndarray] | None = None
) -> Callable[[Iterable[int]], Iterator[torch.Tensor]]:
    """Reads the frames asked for of a `VisualInfo`, prefetched on a thread.

    Args:
        info: the visual. images: receives the source picture of every frame read, by number; who gives it takes them
            out again.
    """

    def read(frames: Iterable[int]) -> Iterator[torch.Tensor]:
        with closing(info.read_ahead(frames)) as ahead:
            for number, image, pixels in ahead:
                if images is not None:
                    images[number] = image
                del image
                yield pixels

    return read


def encode_lazily(
    segmenter: DeSa2VASegmenter,
    read: Callable[[Iterable[int]], Iterable[torch.Tensor]],
    batch_size: int | None = None,
) -> FrameEncoder:
    """A `FrameEncoder` over a reader of SAM-2 pixels.

    Args:
        segmenter: encodes on its own device.
        read: yields the pixels (3, S, S) of the frames asked for, in order and lazily.
        batch_size: frames per call of the image encoder; so many are read and held before the first is yielded. As
            many as fit, up to a few, when omitted; 1 waits for no frame to come.
    """

    def encode(frames: Iterable[int]) -> Iterator[ImageFeatures]:
        pixels = iter(read(frames))
        encoder = BatchedEncoder(segmenter, batch_size, LOOK_AHEAD)
        try:
            while pending := list(islice(pixels, encoder.batch_size)):
                features = encoder(torch.stack(pending))
                for row in range(len(pending)):
                    yield features.select(slice(row, row + 1))
        finally:
            close_stream(pixels)

    return encode


def next_frame(stream: Iterator[ImageFeatures], frame: int, endless: bool = False) -> ImageFeatures | None:
    """The next features of `stream`, those of `frame`.

    Raises:
        ValueError: the stream has ended already; where it is `endless` (a camera), `None` says so instead.
    """
    features = next(stream, None)
    if features is None and not endless:
        raise ValueError(f"the video ended before frame {frame}: the frame encoder yielded too few frames")
    return features


def numbered(encode: FrameEncoder, frames: Iterable[int]) -> Iterator[tuple[int, ImageFeatures]]:
    """What an encoder yields of `frames`, each with its number."""
    asked: deque[int] = deque()

    def noted() -> Iterator[int]:
        for frame in frames:
            asked.append(frame)
            yield frame

    stream = encode(noted())
    try:
        for features in stream:
            yield asked.popleft(), features
    finally:
        close_stream(stream)


def close_stream(stream: Any) -> None:
    """Ends a generator (and what it holds: threads, open files) now; other iterators have nothing to end."""
    if hasattr(stream, "close"):
        stream.close()


__all__ = [
    "FrameEncoder",
    "Visual",
    "batch_visuals",
    "close_stream",
    "encode_lazily",
    "frame_reader",
    "next_frame",
    "numbered",
]
