"""Mask pictures of videos, whose values are object numbers: DAVIS and YouTube-VOS.

Enters: one PNG per frame. Leaves: for every object one run-length code per frame, and the pixels that scores leave
out, which have the number 255. DAVIS-2016 has one object and pictures of 0 and 255: where 255 is the only number, it
is object 1. (Paper section 4: referring video segmentation data.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from desa2va.training.data.records import Code, inside

from .expression_videos import Clip, Codes, Labels, Size
from .index_masks import indices_to_codes, read_indices

_VOID = 255


def index_codes(paths: Sequence[str], size: Size) -> tuple[dict[int, Codes], Codes]:
    """Codes per object number, one for each picture (`None` where it is absent); and those of void, empty without any.

    Raises:
        ValueError: a picture that cannot be read, or is not of this (height, width).
    """
    found: dict[int, list[Code | None]] = {}
    for frame, path in enumerate(paths):
        shape, codes = indices_to_codes(read_indices(path))
        if shape != size:
            raise ValueError(f"{path} is {shape}, its frame is {size} (height, width)")
        for number, code in codes.items():
            found.setdefault(number, [None] * len(paths))[frame] = code
    tracks = {number: tuple(track) for number, track in found.items()}
    if tracks.keys() == {_VOID}:
        return {1: tracks[_VOID]}, ()
    void = tracks.pop(_VOID, ())
    return tracks, void


def index_labels(folder: Path, partly: bool) -> Callable[[Clip, Size], Labels]:
    """Labels of videos from `<folder>/<video>/<frame>.png`, by the `obj_id` of an expression.

    Args:
        folder: of all videos. partly: whether frames may lack a mask picture; they are left out.
    """

    def labels(clip: Clip, size: Size) -> Labels:
        frames, paths = [], []
        for frame, name in enumerate(clip.frames):
            try:
                paths.append(inside(folder, f"{clip.name}/{name}.png"))
            except FileNotFoundError:
                if not partly:
                    raise
                continue
            frames.append(frame)
        if not paths:
            raise ValueError(f"no frame has a mask picture in {folder / clip.name}")
        found, void = index_codes(paths, size)

        def codes(_: int, entry: Mapping[str, Any]) -> Codes:
            number = str(entry.get("obj_id"))
            if not number.isdecimal() or int(number) not in found:
                raise ValueError(f"obj_id {number:.40} is in none of its mask pictures, which hold {sorted(found)}")
            return found[int(number)]

        return Labels(codes, frames, void)

    return labels


__all__ = ["index_codes", "index_labels"]
