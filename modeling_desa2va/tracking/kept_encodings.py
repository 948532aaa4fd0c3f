"""Encodings of frames that are kept from one call to the next, in bounded memory.

Enters: encodings of the frames of one picture or video. Leaves: the same, without the encoder (METHOD section 6: every
frame is encoded once). What no longer fits is not kept, rather than put in the place of another: a video is walked
from end to end, and one that always forgot the frames seen longest ago would find none of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing

from desa2va.modeling_desa2va.outputs import ImageFeatures

from .frame_encoding import FrameEncoder, numbered

MAX_BYTES = 2**30


class KeptEncodings:
    """Encodings of the frames of one visual.

    Args:
        max_bytes: most that is kept.

    Attributes:
        frames: frame -> one row. num_bytes: of all of them.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self.max_bytes, self.num_bytes = max_bytes, 0
        self.frames: dict[int, ImageFeatures] = {}

    def put(self, frame: int, features: ImageFeatures) -> None:
        """Keeps one row, unless it is kept already or does not fit."""
        size = sum(level.nbytes for level in (features.high0, features.high1, features.low))
        if frame not in self.frames and self.num_bytes + size <= self.max_bytes:
            # A row of a batch would hold the whole batch.
            levels = [level.clone() for level in (features.high0, features.high1, features.low)]
            self.frames[frame] = ImageFeatures(*levels, position=features.position)
            self.num_bytes += size

    def keeping(self, encode: FrameEncoder) -> FrameEncoder:
        """An encoder whose frames are kept."""

        def encode_and_keep(frames: Iterable[int]) -> Iterator[ImageFeatures]:
            with closing(numbered(encode, frames)) as encoded:
                for frame, features in encoded:
                    self.put(frame, features)
                    yield features

        return encode_and_keep

    def clear(self) -> None:
        """Forgets everything."""
        self.frames.clear()
        self.num_bytes = 0


__all__ = ["KeptEncodings"]
