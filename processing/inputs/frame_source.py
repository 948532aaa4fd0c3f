"""What every source of frames offers, and the checks that all of them share.

In: nothing. Out: the `FrameSource` protocol that videos, folders and lists implement and that the tracker reads
(METHOD section 6), so that the model never knows where its frames come from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

# Assumed where a source does not state its rate; transformers' Qwen3-VL processor has the same guess.
UNKNOWN_FPS = 24.0


@runtime_checkable
class FrameSource(Protocol):
    """Frames of one visual. All frames have the same size; frames are uint8 `(H, W, 3)` RGB.

    Attributes:
        name: what errors and results call it.
        height: of a frame, pixels.
        width: of a frame, pixels.
        fps: frames per second, `None` where unknown.
        timestamps: seconds of each frame since the first, `len(self)` numbers; frame numbers where `fps` is unknown.
    """

    name: str
    height: int
    width: int
    fps: float | None
    timestamps: list[float]

    def __len__(self) -> int:
        """Number of frames."""

    def read(self, indices: Sequence[int]) -> list[np.ndarray]:
        """Frames at these indices, in the order asked for."""

    def iterate(self, start: int = 0, stop: int | None = None, step: int = 1) -> Iterator[np.ndarray]:
        """Frames `range(start, stop, step)` with `step` 1 or -1; `stop=None` runs to the end of that direction."""


def frame_seconds(source: FrameSource | None, frames: Sequence[int]) -> list[float]:
    """Seconds of frames since the first one of the video, as the language model is told.

    Args:
        source: its time stamps; `UNKNOWN_FPS` frames a second where it knows no rate, or for `None`. frames: numbers.
    """
    if source is None or source.fps is None:
        return [frame / UNKNOWN_FPS for frame in frames]
    stamps = source.timestamps
    return [float(stamps[frame]) for frame in frames]


def frame_range(num_frames: int, start: int, stop: int | None, step: int) -> range:
    """The frame numbers of `FrameSource.iterate`.

    Raises:
        ValueError: `step` is not 1 or -1, or the range leaves the video.
    """
    if step not in (1, -1):
        raise ValueError(f"step={step}: frames are read one by one, use 1 or -1")
    numbers = range(start, (num_frames if step == 1 else -1) if stop is None else stop, step)
    if len(numbers) and not (0 <= numbers[0] < num_frames and 0 <= numbers[-1] < num_frames):
        raise ValueError(
            f"frames {numbers[0]} to {numbers[-1]} are asked for, the video has frames 0 to {num_frames - 1}"
        )
    return numbers


def check_indices(num_frames: int, indices: Sequence[int]) -> None:
    """Raises `ValueError` naming the first index that is not a frame."""
    for index in indices:
        if not 0 <= index < num_frames:
            raise ValueError(f"frame {index} is asked for, the video has frames 0 to {num_frames - 1}")


def check_sizes(names: Sequence[str], sizes: Sequence[tuple[int, int]], where: str) -> None:
    """Raises `ValueError` naming the first two frames of different size (height, width)."""
    for name, size in zip(names, sizes, strict=True):
        if size != sizes[0]:
            raise ValueError(
                f"{where}: all frames need one size, but {names[0]} is {sizes[0][1]} x {sizes[0][0]} and "
                f"{name} is {size[1]} x {size[0]} (width x height)"
            )


__all__ = ["FrameSource", "check_indices", "check_sizes", "frame_range", "frame_seconds"]
