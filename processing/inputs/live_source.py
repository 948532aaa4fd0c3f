"""Frames of a camera, or of any iterator that does not know how many there are.

In: an iterator of pictures. Out: `LiveSource`, which keeps the first few for the language model (key frames `first`)
and hands on the others once, in order, without keeping them (METHOD section 6).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np

from desa2va.configuration.integers import as_integer

from .frame_source import check_sizes
from .image_loading import load_image


class LiveSource:
    """A `FrameSource` whose length is not known: `len` counts the frames buffered.

    Args:
        frames: pictures of one size, anything `load_image` takes; read once, lazily.
        buffered: first frames that are read now and stay available; the key frames are among them.
        name: named in errors.
        fps: frames per second, if known; time stamps are frame numbers otherwise.

    Attributes:
        ended: the iterator held no more frames than are buffered, so the length is known after all.

    Raises:
        ValueError: `buffered` below 1, no frame at all, or a frame of another size than the first (when it is read).
    """

    def __init__(
        self, frames: Iterable[Any], buffered: int, name: str = "live video", fps: float | None = None
    ) -> None:
        buffered = as_integer(buffered, f"{name}: buffered", least=1)
        self.name, self.fps = name, fps
        self._incoming = iter(frames)
        first = islice(self._incoming, buffered)
        self._buffer = [self._checked(frame, index) for index, frame in enumerate(first)]
        if not self._buffer:
            raise ValueError(f"{name}: a video needs at least one frame, got none")
        # One frame more than is buffered tells whether the video ends here.
        self._ahead = list(islice(self._incoming, 1))
        self.ended = not self._ahead
        self._next = len(self._buffer)

    @property
    def timestamps(self) -> list[float]:
        """Seconds of the buffered frames since the first; `timestamp` knows those of the others."""
        return [self.timestamp(index) for index in range(len(self))]

    def timestamp(self, index: int) -> float:
        """Seconds of any frame since the first; its number where `fps` is unknown."""
        return index / (self.fps or 1.0)

    def __len__(self) -> int:
        return len(self._buffer)

    def read(self, indices: Sequence[int]) -> list[np.ndarray]:
        """Buffered frames at these indices, in the order asked for.

        Raises:
            ValueError: a frame that is not buffered (any more).
        """
        for index in indices:
            if not 0 <= index < len(self):
                raise ValueError(f"{self.name}: frame {index} is asked for; only frames 0 to {len(self) - 1} are kept")
        return [self._buffer[index] for index in indices]

    def iterate(self, start: int = 0, stop: int | None = None, step: int = 1) -> Iterator[np.ndarray]:
        """Frames from `start` on: buffered ones, then, each once, those that come in.

        Raises:
            ValueError: another step than 1, or a frame that has passed or is still to come.
        """
        if step != 1 or not (0 <= start <= len(self) or start == self._next):
            raise ValueError(f"{self.name}: frame {start}, step {step}: what is not buffered comes in once, in order")
        yield from self._buffer[start:stop]
        while stop is None or self._next < stop:
            frame = self._ahead.pop() if self._ahead else next(self._incoming, None)
            if frame is None:
                return
            self._next += 1
            yield self._checked(frame, self._next - 1)

    def _checked(self, frame: Any, index: int) -> np.ndarray:
        """The picture as RGB; the size of the first frame counts for all."""
        picture = load_image(frame, f"{self.name} frame {index}")
        if index == 0:
            self.height, self.width = picture.shape[:2]
        sizes = [(self.height, self.width), picture.shape[:2]]
        check_sizes(["frame 0", f"frame {index}"], sizes, self.name)
        return picture


__all__ = ["LiveSource"]
