"""MeViS: motion expressions of one object or several.

Enters: `video_datas/mevis/{train,valid_u,valid,test}/` with `JPEGImages/<video>/<frame>.jpg`, `meta_expressions.json`
(test: `meta_expressions_release.json`) and, in train and valid_u alone, `mask_dict.json`. Leaves: records; the masks
of all `anno_id`s of an expression are united, version 2's expressions without any have no target. Frame rates are
not known: the videos come from several sets. (Paper section 4.)
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from desa2va.training.data.records import Record, RecordError

from .annotation_files import check_split, count_videos
from .expression_videos import clip_records, read_clips
from .mask_dicts import MaskDict, annotation_labels
from .status import Status, look

SPLITS = ("train", "valid_u", "valid", "test")
_LABELLED = ("train", "valid_u")
_VIDEOS = {"train": 1662, "valid_u": 50, "valid": 140}
_PLACE = "video_datas/mevis"
_LICENCE = "CC BY-NC-SA 4.0"


def read_mevis(root: Path, split: str) -> Iterator[Record | RecordError]:
    """Records of a split.

    Raises:
        ValueError: no such split, or a file of another shape. FileNotFoundError: an annotation file is missing.
    """
    check_split("mevis", split, SPLITS)
    folder = Path(root) / _PLACE / split
    clips = read_clips(folder / ("meta_expressions_release.json" if split == "test" else "meta_expressions.json"))
    labels = annotation_labels(MaskDict(folder / "mask_dict.json")) if split in _LABELLED else None
    yield from clip_records(
        clips.values(),
        [folder / "JPEGImages"],
        labels,
        source=f"mevis/{split}",
        licence=_LICENCE,
        lower=split == "train",
    )


def mevis_status(root: Path) -> Status:
    """What of the set is there; `test` is published for competitions only and not asked for."""
    names = []
    for split in _VIDEOS:
        names += [f"{_PLACE}/{split}/JPEGImages", f"{_PLACE}/{split}/meta_expressions.json"]
        names += [f"{_PLACE}/{split}/mask_dict.json"] if split in _LABELLED else []
    status = look(root, names, "https://henghuiding.github.io/MeViS/", licence=_LICENCE)
    return count_videos(status, root, {f"{_PLACE}/{split}/JPEGImages": count for split, count in _VIDEOS.items()})


__all__ = ["SPLITS", "mevis_status", "read_mevis"]
