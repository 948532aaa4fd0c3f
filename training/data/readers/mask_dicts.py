"""`mask_dict`: the masks of all videos of a set in one file, JSON or pickle.

Enters: lists of run-length codes by id, one entry per frame: a code, a list of codes, or null. Leaves: one checked
code per frame. Objects that overlap are united; added as bytes, as published scripts do, they would make 2 of 1 + 1.
(Paper section 4: referring video segmentation data.)
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from desa2va.processing.files import check_code, mask_area, unite_masks
from desa2va.training.data.records import RecordError

from .annotation_files import read_file
from .expression_videos import Clip, Codes, Labels, Size
from .plain_pickle import read_pickle


class MaskDict:
    """A `mask_dict` file.

    Args:
        path: `.json`, or `.pkl`, which may hold nothing that runs.

    Raises:
        FileNotFoundError: no such file. ValueError: of another shape.
    """

    def __init__(self, path: Path) -> None:
        content = read_pickle(path) if path.suffix == ".pkl" else read_file(path)
        if not isinstance(content, dict):
            raise ValueError(f"{path}: expected lists of masks by id, got {type(content).__name__}")
        self.content, self.path = content, path

    def codes(self, keys: Iterable[Any], num_frames: int, size: Size) -> Codes:
        """The union of several entries, frame by frame; `size` is (height, width).

        Raises:
            ValueError: no such entry, one of another length, or a code of another size.
        """
        tracks = []
        for key in map(str, keys):
            track = self.content.get(key)
            if not isinstance(track, list):
                raise ValueError(f"{self.path} holds no masks of id {key:.40}")
            if len(track) != num_frames:
                raise ValueError(
                    f"{self.path} holds {len(track)} masks of id {key:.40}, the video has {num_frames} frames"
                )
            tracks.append(track)
        return united_frames(tracks, size)


def annotation_labels(masks: MaskDict, num_kinds: int = 0) -> Callable[[Clip, Size], Labels]:
    """Labels by the list `anno_id` of an expression: the union of them all, no target where it is empty.

    Args:
        masks: of the set. num_kinds: where scores are by kind, of how many; then every expression needs its `type_id`.
    """

    def labels(clip: Clip, size: Size) -> Labels:
        known: dict[tuple[str, ...], Codes] = {}

        def codes(_: int, entry: Mapping[str, Any]) -> Codes | None:
            named = entry.get("anno_id")
            if not isinstance(named, list):
                raise ValueError("needs the list 'anno_id'")
            if num_kinds and entry.get("type_id") not in range(num_kinds):
                raise ValueError(f"needs a 'type_id' from 0 to {num_kinds - 1}, got {entry.get('type_id')!r:.40}")
            ids = tuple(sorted(map(str, named)))
            if ids and ids not in known:
                known[ids] = masks.codes(ids, len(clip.frames), size)
            return known.get(ids)

        return Labels(codes)

    return labels


def numbered_labels(masks: MaskDict, clips: Collection[Clip | RecordError]) -> Callable[[Clip, Size], Labels]:
    """Labels by the number of an expression among those of the file.

    Raises:
        ValueError: another number of masks than of expressions; every number could then be wrong.
    """
    wrong = next((clip for clip in clips if isinstance(clip, RecordError)), None)
    if wrong is not None:
        raise ValueError(f"{masks.path} numbers the expressions, which cannot be counted: {wrong}")
    total = sum(len(clip.expressions) for clip in clips if isinstance(clip, Clip))
    if len(masks.content) != total:
        raise ValueError(f"{masks.path} holds masks of {len(masks.content)} expressions, but there are {total}")

    def labels(clip: Clip, size: Size) -> Labels:
        return Labels(lambda number, _: masks.codes([number], len(clip.frames), size))

    return labels


def united_frames(tracks: Sequence[Sequence[Any]], size: Size) -> Codes:
    """One code per frame, the union of what each track has there; `None` where nothing is to be seen.

    Raises:
        ValueError: what is no code of this (height, width); the frame is named.
    """
    codes = []
    for frame, parts in enumerate(zip(*tracks, strict=True)):
        found = [code for part in parts if part is not None for code in (part if isinstance(part, list) else [part])]
        try:
            found = [check_code(_plain(code), size) for code in found]
        except ValueError as error:
            raise ValueError(f"frame {frame}: {error}") from error
        united = found[0] if len(found) == 1 else unite_masks(found) if found else None
        codes.append(united if united is not None and mask_area(united) else None)
    return tuple(codes)


def _plain(code: Any) -> Any:
    """A code whose size is of Python's integers; pickles may hold numpy's."""
    if isinstance(code, dict) and isinstance(code.get("size"), list | tuple):
        return {**code, "size": [side.item() if isinstance(side, np.generic) else side for side in code["size"]]}
    return code


__all__ = ["MaskDict", "annotation_labels", "numbered_labels", "united_frames"]
