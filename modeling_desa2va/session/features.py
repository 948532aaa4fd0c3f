"""Encodings of the frames a user is working on (METHOD section 6, Inter-VOS).

Enters: frame numbers. Leaves: SAM-2's encodings, a few of which are kept, so that a second click on a frame, or the
memories of its neighbours, need no encoder.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any

from desa2va.modeling_desa2va.devices import execution_device
from desa2va.modeling_desa2va.outputs import ImageFeatures
from desa2va.modeling_desa2va.segmenter import DeSa2VASegmenter

CACHED_FRAMES, CACHED_LOW_LEVELS, READ_AT_ONCE = 2, 16, 8


class FeatureCache:
    """Encodings of the frames used last, few of them whole, some of them as the low level that memories need.

    Args:
        segmenter: encodes. info: `VisualInfo` of the video.

    Attributes:
        pinned: frames whose low level is kept, once encoded, until they are taken out of this set.
    """

    def __init__(self, segmenter: DeSa2VASegmenter, info: Any) -> None:
        self._segmenter, self._info = segmenter, info
        self._whole: OrderedDict[int, ImageFeatures] = OrderedDict()
        self._low: OrderedDict[int, ImageFeatures] = OrderedDict()
        self.pinned: set[int] = set()

    def whole(self, frame: int) -> ImageFeatures:
        """All levels of one frame, one row."""
        if frame not in self._whole:
            self.put(frame, self._encode([frame])[0])
        self._whole.move_to_end(frame)
        return self._whole[frame]

    def put(self, frame: int, features: ImageFeatures) -> None:
        """Keeps features that are at hand."""
        self._whole[frame] = features
        while len(self._whole) > CACHED_FRAMES:
            self._whole.popitem(last=False)
        self.put_low(frame, features)

    def put_low(self, frame: int, features: ImageFeatures) -> None:
        """Keeps the low level of features that are at hand."""
        self._low[frame] = ImageFeatures(low=features.low.clone(), position=features.position)
        self._low.move_to_end(frame)
        for old in [old for old in self._low if old not in self.pinned][:-CACHED_LOW_LEVELS]:
            del self._low[old]

    def low(self, frames: Iterable[int]) -> Iterator[tuple[int, ImageFeatures]]:
        """(frame, its low level) of the frames asked for, in order; missing ones are read and encoded."""
        frames = list(frames)
        for start in range(0, len(frames), READ_AT_ONCE):
            chunk = frames[start : start + READ_AT_ONCE]
            found = {frame: self._low[frame] for frame in chunk if frame in self._low}
            missing = [frame for frame in chunk if frame not in found]
            for frame, features in zip(missing, self._encode(missing), strict=True):
                self.put_low(frame, features)
                found[frame] = self._low[frame]
            yield from ((frame, found[frame]) for frame in chunk)

    def clear(self) -> None:
        """Forgets everything."""
        self._whole.clear()
        self._low.clear()
        self.pinned.clear()

    def _encode(self, frames: list[int]) -> list[ImageFeatures]:
        if not frames:
            return []
        pixels = self._info.sam_frames(frames).to(execution_device(self._segmenter.sam))
        return [self._segmenter.encode_frames(pixels[row : row + 1]) for row in range(len(frames))]


__all__ = ["FeatureCache"]
