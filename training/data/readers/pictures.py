"""Pictures and masks of the published picture sets.

Enters: a name and a mask as an annotation file has them. Leaves: the file, its size, the mask as a checked code.
(Engineering; no paper section.)
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from desa2va.processing.files import Code, encode_mask
from desa2va.processing.inputs import IMAGE_EXTENSIONS, image_size
from desa2va.training.data.mask_parts import unite
from desa2va.training.data.records import Dialogue, Record, inside

from .json_entries import FieldError, named_field
from .status import Status, look

_FEWEST = 6  # numbers of a polygon: three points


class PictureFolders:
    """The folders that may hold the pictures of a set: published layouts differ.

    Args:
        root: the data folder. folders: below it, the likeliest first.
    """

    def __init__(self, root: Path, folders: Sequence[str]) -> None:
        self.root, self.folders = root, folders
        self._present = [root / folder for folder in folders if (root / folder).is_dir()]

    def find(self, *names: str) -> str:
        """The absolute name of the first of these files that is there.

        Raises:
            ValueError: a name that leads out of its folder. FileNotFoundError: none is there.
        """
        for folder in self._present or [self.root / self.folders[0]]:
            for name in names:
                try:
                    return inside(folder, name)
                except FileNotFoundError:
                    continue
        places = ", ".join(self.folders)
        raise FileNotFoundError(f"no picture {names[0]} below {self.root} in any of {places}")

    def measured(self, *names: str, stated: tuple[Any, Any] | None = None) -> tuple[str, tuple[int, int]]:
        """`find`, and the (height, width) that the file's header tells.

        Args:
            stated: what the annotation file says it is; masks belong to that size.

        Raises:
            FieldError: no such file, a broken one, or one of another size.
        """
        with named_field("image"):
            path = self.find(*names)
            size = image_size(path)
        if stated is not None and tuple(stated) != size:
            raise FieldError(
                "size",
                f"{path} is {size[1]} x {size[0]} (width x height), the annotations are for {stated[1]} x {stated[0]}",
            )
        return path, size


def picture_record(
    name: str, path: str, size: tuple[int, int], dialogues: Sequence[Dialogue], source: str
) -> Record | None:
    """The record of a picture; `None` where nothing is said about it."""
    return Record(name, (path,), False, size, 1, tuple(dialogues), source) if dialogues else None


def segmentation_code(segmentation: Any, size: tuple[int, int]) -> Code:
    """The mask of a COCO annotation: polygons, or a code of any spelling, or a list of codes; parts are united.

    An empty list is an empty mask. Polygons of fewer than three points or with half a point are dropped, as the tools
    of the published sets do; pycocotools would take one of two points for a box.

    Raises:
        FieldError: neither, or a mask of another size.
    """
    with named_field("segmentation"):
        if isinstance(segmentation, list):
            parts = [segmentation] if segmentation and not isinstance(segmentation[0], list | dict) else segmentation
            segmentation = [part for part in parts if not _is_degenerate(part)]
            if not segmentation:
                return encode_mask(np.zeros(size, bool))
        return unite(segmentation, size, may_be_empty=True)


def _is_degenerate(part: Any) -> bool:
    return isinstance(part, list) and (len(part) < _FEWEST or len(part) % 2 == 1)


def look_at(
    root: Path, files: Sequence[str], pictures: Mapping[str, int], where: str, licence: str | None = None
) -> Status:
    """A `Status` of annotation files and of folders of pictures, each with the fewest pictures the whole set needs."""
    status = look(root, [*files, *pictures], where)
    found, missing = list(status.found), list(status.missing)
    for names, needed in pictures.items():
        folder = next((name for name in names.split("|") if name in found), None)
        count = 0 if folder is None else _count(root / folder, needed)
        if folder is not None and count < needed:
            found.remove(folder)
            missing.append(f"{folder} (partial: {count} of at least {needed} pictures)")
    return Status(tuple(found), tuple(missing), where, licence, "looks complete" if not missing else "")


def _count(folder: Path, enough: int) -> int:
    """Number of pictures below a folder, counted no further than needed."""
    count = 0
    for name in _names(folder):
        count += os.path.splitext(name)[1].lower() in IMAGE_EXTENSIONS
        if count >= enough:
            break
    return count


def _names(folder: Path) -> Iterator[str]:
    for _, _, files in os.walk(folder):
        yield from files


__all__ = ["PictureFolders", "look_at", "picture_record", "segmentation_code"]
