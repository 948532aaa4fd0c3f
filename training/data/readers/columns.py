"""Any table with named columns: a row enters, a record leaves. Nothing is decoded but headers and mask pictures.

A picture or video is a cell of `datasets` (`{"bytes", "path"}`), a list of pictures, or a file name. A mask is a
run-length code (`{"size", "counts"}`), polygons, a picture of object numbers, or null; of a video a list of these, one
per frame. Texts and masks pair one to one; several texts of one mask are alternatives, of which a sample takes one.
Columns inside a list are named with dots: RefCOCO-M has `samples.sentences` and `samples.mask`. (Paper section 4.)
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from desa2va.processing.files import Code, encode_mask, unite_masks
from desa2va.training.data.mask_parts import unite, video_codes
from desa2va.training.data.record_media import measure
from desa2va.training.data.records import Dialogue, Record, RecordError, expression_dialogue, inside

from .finetune_texts import check_expression
from .index_masks import indices_to_codes, read_indices
from .json_entries import FieldError, named_field

# Which column plays a role where none is named: the first of these names, from left to right.
GUESSES = {
    "image": ("image", "img", "picture"),
    "video": ("video", "frames", "clip"),
    "text": ("expressions", "expression", "sentences", "sentence", "texts", "text", "phrases", "phrase", "caption"),
    "mask": ("masks", "mask", "masklets", "masklet", "segmentation", "rle"),
    "object": ("objects", "object", "object_id"),
}


def choose_columns(leaves: Sequence[str], named: dict[str, str], name: str) -> dict[str, str]:
    """Which column plays which role.

    Args:
        leaves: all columns, those inside lists and structures with dots. named: roles that the user gave a column.
        name: of the data set, for errors.

    Raises:
        ValueError: an unknown role or column, or none for the picture or the texts.
    """
    for role, column in named.items():
        if role not in GUESSES:
            raise ValueError(f"{name}: columns names the role {role!r}; roles are {', '.join(GUESSES)}")
        if column not in leaves:
            raise ValueError(f"{name}: no column {column!r} for {role}; it has {', '.join(leaves)}")
    chosen = dict(named)
    for role, guesses in GUESSES.items():
        found = [leaf for guess in guesses for leaf in leaves if leaf.split(".")[-1] == guess]
        if role not in chosen and found:
            chosen[role] = min(found, key=lambda leaf: leaf.count("."))
    if "image" in chosen and "video" in chosen:
        chosen.pop("image" if "video" in named else "video")
    missing = [role for role in ("video" if "video" in chosen else "image", "text", "mask") if role not in chosen]
    if missing:
        raise ValueError(
            f"{name}: which column is the {missing[0]}? It has {', '.join(leaves)}; name them: columns="
            "{image: ..., text: ..., mask: ...} (or video; inside lists with dots)"
        )
    return chosen


@dataclass(frozen=True)
class RowReader:
    """Reads rows of one table.

    Attributes:
        name: of the data set. columns: role to column. root: where file names start from, where cells hold such.
    """

    name: str
    columns: dict[str, str]
    root: str | None = None
    licence: str | None = None

    def record(self, row: dict[str, Any], number: int) -> Record:
        """Row `number` as a record.

        Raises:
            RecordError: what is wrong with it.
        """
        where = f"row {number}"
        try:
            return self._record(row, where)
        except FieldError as error:
            raise RecordError(where, error.field, str(error)) from error

    def _record(self, row: dict[str, Any], where: str) -> Record:
        is_video = "video" in self.columns
        role = "video" if is_video else "image"
        with named_field(role), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # reading every pixel tells them
            paths, media = self._files(_walk(row, self.columns[role]), where, is_video)
            size, num_frames = measure(paths, is_video, media)
        texts = _walk(row, self.columns["text"])
        masks = _walk(row, self.columns["mask"])
        objects = _walk(row, self.columns["object"]) if "object" in self.columns else None
        with named_field("mask"):
            triples = _paired(texts, masks, objects, is_video)
        dialogues: list[Dialogue] = []
        for which, (text, mask, chosen) in enumerate(triples):
            with named_field(f"mask {which}"):
                codes = _codes(mask, chosen, size, num_frames if is_video else None)
            said = text if isinstance(text, list) else [text]
            for alternative in said:
                with named_field(f"text {which}"):
                    check_expression(alternative)
                group = which if len(said) > 1 else None
                dialogues.append(expression_dialogue(alternative.strip(), codes, group))
        if not dialogues:
            raise FieldError("text", "nothing to learn: the row holds no expression")
        name = f"{where} ({paths[0]})"
        licence = self.licence
        return Record(
            name, paths, is_video, size, num_frames, tuple(dialogues), self.name, licence=licence, media=media
        )

    def _files(self, value: Any, where: str, is_video: bool) -> tuple[tuple[str, ...], tuple[bytes, ...]]:
        """Names, and contents where the table holds them."""
        cells = value if isinstance(value, list) else [value]
        if not cells or any(cell is None for cell in cells):
            raise ValueError("an empty cell; every row needs its picture or video")
        files = [
            self._file(cell, f"{where}.{number}.{'png' if len(cells) > 1 or not is_video else 'mp4'}")
            for number, cell in enumerate(cells)
        ]
        media = tuple(content for _, content in files if content is not None)
        if media and len(media) != len(files):
            raise ValueError("some cells hold pictures and others names of files")
        return tuple(path for path, _ in files), media

    def _file(self, cell: Any, fallback: str) -> tuple[str, bytes | None]:
        if isinstance(cell, dict):
            content, path = cell.get("bytes"), cell.get("path")
            if content is not None:
                return os.path.basename(path or fallback), content
            cell = path
        if isinstance(cell, bytes):
            return fallback, cell
        if not isinstance(cell, str) or not cell:
            raise ValueError(f"a cell holds a picture, a video or the name of a file, got {type(cell).__name__}")
        if self.root is not None:
            return inside(self.root, cell), None
        if not os.path.isabs(cell):
            raise ValueError(f"the name of a file, {cell!r:.100}; say where such names start from: image_root=DIR")
        return cell, None


def _walk(value: Any, column: str) -> Any:
    """The value at a dotted column; through lists, a list of values."""
    for position, name in enumerate(parts := column.split(".")):
        if isinstance(value, list):
            return [_walk(entry, ".".join(parts[position:])) for entry in value]
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _paired(texts: Any, masks: Any, objects: Any, is_video: bool) -> list[tuple[Any, Any, Any]]:
    """Texts with their masks and object numbers: one text and one mask, several of one, or one for each."""
    if isinstance(texts, str):
        return [(texts, masks, objects)]
    if not isinstance(texts, list):
        raise ValueError(f"texts are a text or a list of texts, got {type(texts).__name__}")
    if _is_one_mask(masks, is_video):
        if isinstance(objects, list):
            if len(objects) != len(texts):
                raise ValueError(f"{len(texts)} texts but {len(objects)} object numbers")
            return [(text, masks, chosen) for text, chosen in zip(texts, objects, strict=True)]
        return [(texts, masks, objects)] if texts else []
    if len(masks) != len(texts):
        raise ValueError(f"{len(texts)} texts but {len(masks)} masks; every expression needs its mask, or null")
    numbers = objects if isinstance(objects, list) else [objects] * len(texts)
    return list(zip(texts, masks, numbers, strict=True))


def _is_one_mask(mask: Any, is_video: bool) -> bool:
    """Whether a cell is the mask of one object and no list of masks."""
    if is_video:
        first = next((entry for entry in mask if entry is not None), None) if isinstance(mask, list) else None
        return first is None or _is_one_mask(first, False)
    if not isinstance(mask, list):
        return True
    return bool(mask) and isinstance(mask[0], list) and bool(mask[0]) and not isinstance(mask[0][0], list | dict)


def _codes(mask: Any, objects: Any, size: tuple[int, int], num_frames: int | None) -> tuple[Code | None, ...] | None:
    """The codes of one mask; `num_frames` of a video, `None` for a picture."""
    if mask is None:
        return None
    if num_frames is None:
        return (unite(_as_code(mask, objects, size), size),)
    if not isinstance(mask, list):
        raise ValueError(f"the mask of a video is a list with one entry per frame, got {type(mask).__name__}")
    return video_codes([None if frame is None else _as_code(frame, objects, size) for frame in mask], size, num_frames)


def _as_code(mask: Any, objects: Any, size: tuple[int, int]) -> Any:
    """A mask picture as a code; anything else as it is."""
    if isinstance(mask, dict) and not {"bytes", "path"} & set(mask):
        return mask
    if isinstance(mask, dict):
        mask = mask.get("bytes") or mask.get("path")
    if not isinstance(mask, bytes | str):
        return mask
    numbers = read_indices(mask)
    if numbers.shape != size:
        raise ValueError(f"the mask is {numbers.shape[::-1]} but the picture is {size[::-1]} (width, height)")
    if objects is None:
        return encode_mask(numbers > 0)
    _, codes = indices_to_codes(numbers)
    chosen = objects if isinstance(objects, list) else [objects]
    parts = [codes[number] for number in chosen if number in codes]
    return unite_masks(parts) if parts else encode_mask(numbers < 0)


__all__ = ["GUESSES", "RowReader", "choose_columns"]
