"""ReVOS: referring and reasoning expressions about videos, and some that fit nothing.

Enters: `video_datas/revos/` with `meta_expressions_<split>_.json` (the underscore is theirs), `mask_dict.json` and
`mask_dict_foreground.json` for all splits, and frames in `JPEGImages/<video>/` or in `<video>/` itself. A video's name
holds slashes. Leaves: records; `ids["type"]` is 0 for referring, 1 for reasoning, 2 where there is no such object.
(Paper section 4.)
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from desa2va.training.data.records import Record, RecordError

from .annotation_files import check_split, read_file
from .expression_videos import Codes, clip_records, read_clips
from .mask_dicts import MaskDict, annotation_labels, united_frames
from .published_files import REVOS, check_published
from .status import Status, look

SPLITS = ("train", "valid", "train_sub")
_PLACE = "video_datas/revos"
_LICENCE = "CC BY-NC-SA 4.0"
_KINDS = 3  # of expressions, which scores tell apart


def read_revos(root: Path, split: str) -> Iterator[Record | RecordError]:
    """Records of a split.

    Raises:
        ValueError: no such split, a file of another shape, or, of `valid`, another file than the published one.
        FileNotFoundError: an annotation file is missing.
    """
    check_split("revos", split, SPLITS)
    folder = Path(root) / _PLACE
    said, masks = folder / f"meta_expressions_{split}_.json", folder / "mask_dict.json"
    if split == "valid":
        check_published(said, REVOS)
        check_published(masks, REVOS)
    yield from clip_records(
        read_clips(said).values(),
        [folder / "JPEGImages", folder],
        annotation_labels(MaskDict(masks), num_kinds=_KINDS if split == "valid" else 0),
        source=f"revos/{split}",
        licence=_LICENCE,
        lower=split != "valid",
    )


def read_revos_foreground(root: Path) -> dict[str, Codes]:
    """For every video and frame the union of all its annotated objects: what the robustness score R is relative to.

    Raises:
        FileNotFoundError: no such file. ValueError: another than the published one, or of another shape; the video
            is named.
    """
    path = Path(root) / _PLACE / "mask_dict_foreground.json"
    check_published(path, REVOS)
    content = read_file(path)
    foreground = {}
    for video in sorted(content):
        try:
            track = content[video]["masks_rle"]
            size = next(tuple(code["size"]) for code in track if code is not None)
            foreground[video] = united_frames([track], size)
        except (KeyError, TypeError, StopIteration, ValueError) as error:
            raise ValueError(f"{path}, video {video}: expected a code per frame in 'masks_rle' ({error!r})") from error
    return foreground


def revos_status(root: Path) -> Status:
    """What of the set is there."""
    files = ["meta_expressions_train_.json", "meta_expressions_valid_.json"]
    files += ["mask_dict.json", "mask_dict_foreground.json"]
    names = [f"{_PLACE}/{name}" for name in files]
    folder = Path(root) / _PLACE
    frames = sorted(entry.name for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else []
    names.append(f"{_PLACE}/{frames[0] if frames else 'JPEGImages'}")
    return look(root, names, "https://github.com/cilinyan/ReVOS-api", licence=_LICENCE)


__all__ = ["SPLITS", "read_revos", "read_revos_foreground", "revos_status"]
