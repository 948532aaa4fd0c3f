"""A video as the commands read it: at most so many of its frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from desa2va.processing.inputs import FrameSource, check_indices, frame_range


class FirstFrames:
    """The first frames of a video. A `FrameSource`: frames stay where they are and are decoded when asked for.

    What was read last is kept until it is read again: the key frames, which the language model and the overlay see.

    Args:
        video: The whole video.
        max_frames: How many frames count; all when `None`.
    """

    def __init__(self, video: FrameSource, max_frames: int | None = None) -> None:
        self._video = video
        count = len(video) if max_frames is None else min(max_frames, len(video))
        self.name, self.height, self.width, self.fps = video.name, video.height, video.width, video.fps
        self.timestamps = video.timestamps[:count]
        self._kept: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.timestamps)

    def read(self, indices: Sequence[int]) -> list[np.ndarray]:
        """Frames at these indices, in the order asked for."""
        check_indices(len(self), indices)
        kept, self._kept = self._kept, {}
        if not kept.keys() >= set(indices):
            self._kept = kept = dict(zip(indices, self._video.read(indices), strict=True))
        return [kept[index] for index in indices]

    def iterate(self, start: int = 0, stop: int | None = None, step: int = 1) -> Iterator[np.ndarray]:
        """Frames `range(start, stop, step)`."""
        numbers = frame_range(len(self), start, stop, step)
        if not numbers:
            return iter(())
        # `numbers.stop` is -1 where the range runs backwards to frame 0; a source spells that end `None`.
        return self._video.iterate(numbers.start, None if numbers.stop < 0 else numbers.stop, step)


__all__ = ["FirstFrames"]
