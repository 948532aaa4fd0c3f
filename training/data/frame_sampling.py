"""Which frames of a video a sample shows.

Enters: a record and what is asked about it. Leaves: rising frame numbers, on which everything that is asked for is
seen wherever there is room for it. (Paper section 4: five frames of a video.)
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from desa2va.processing.files import mask_area
from desa2va.processing.inputs import key_frame_indices

from .records import Dialogue, Record, Target


def draw_frames(
    record: Record, dialogues: Iterable[Dialogue], count: int, repetition: int, rng: np.random.Generator
) -> list[int]:
    """At most `count` frames: the first time the key frames that inference would choose, later one drawn from each of
    as many stretches.

    A target that none of them shows takes the place of the frame nearest to one that does: a `[SEG]` for an object
    that is seen nowhere teaches nothing but blank masks.

    Args:
        record: a picture has one frame, text alone none. dialogues: of the sample. repetition: how often the record
            has been read before.
    """
    count = min(count, record.num_frames)
    if count == 0:
        return []
    if repetition == 0 or count == record.num_frames:
        frames = key_frame_indices("uniform", record.num_frames, count)
    else:
        edges = np.linspace(0, record.num_frames, count + 1).astype(int)
        frames = [int(rng.integers(start, stop)) for start, stop in zip(edges, edges[1:], strict=False)]
    for target in [target for dialogue in dialogues for target in dialogue.targets]:
        if any(_shows(target, frame) for frame in frames):
            continue
        seen = [frame for frame in range(record.num_frames) if _shows(target, frame)]
        if seen:
            shown = seen[int(rng.integers(len(seen)))]
            nearest = int(np.argmin(np.abs(np.array(frames) - shown)))
            frames[nearest] = shown
    return frames


def _shows(target: Target, frame: int) -> bool:
    code = target.codes[frame]
    return code is not None and mask_area(code) > 0


__all__ = ["draw_frames"]
