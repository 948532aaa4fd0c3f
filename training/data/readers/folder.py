"""A folder of pictures or videos, masks of object numbers, and a table of expressions: no JSON to write.

    photos/images/street.jpg      photos/masks/street.png            palette or grey PNG, value = number of the object
    photos/videos/dog/00000.jpg   photos/masks/dog/00000.png         a folder of frames; one without mask: nothing
    photos/videos/cat.mp4         photos/masks/cat/00000.png         named by the number of the frame, from 0; or
                                  photos/masks/cat.json              {"1": [code or null for every frame], "2": ...}
    photos/expressions.csv        image,object,expression  (or video,...; see `expression_table`)

(Paper section 4: referring segmentation of pictures and videos.)
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from desa2va.processing.files import Code, mask_area, unite_masks
from desa2va.processing.inputs import open_visual
from desa2va.training.data.mask_parts import video_codes
from desa2va.training.data.record_media import measure
from desa2va.training.data.records import Dialogue, Record, RecordError, expression_dialogue, inside, is_picture_name

from .expression_table import Row, find_table, read_table_rows
from .index_masks import mask_codes
from .json_entries import FieldError, named_field, read_json_object

Found = tuple[dict[int, Code], ...]  # of every frame, the codes of its objects


def read_folder(path: str | os.PathLike) -> Iterator[Record | RecordError]:
    """One record per picture or video of the table, in the order in which they first appear.

    Args:
        path: the folder, or its table.

    Raises:
        FileNotFoundError: no table. ValueError: see `read_table_rows`; a wrong row is yielded as its `RecordError`.
    """
    path = Path(path)
    folder, table = (path, find_table(path)) if path.is_dir() else (path.parent, path)
    if table is None:
        raise FileNotFoundError(f"{folder} holds no table of expressions; put expressions.csv (or .jsonl) into it")
    visuals: dict[tuple[str, bool], list[Row]] = {}
    for row in read_table_rows(table):
        if isinstance(row, RecordError):
            yield row
        else:
            visuals.setdefault((row.name, row.is_video), []).append(row)
    for rows in visuals.values():
        yield from _visual(folder, rows, str(table))


def _visual(folder: Path, rows: list[Row], source: str) -> Iterator[Record | RecordError]:
    """The record of one picture or video, after what is wrong with any of its rows."""
    name, is_video = rows[0].name, rows[0].is_video
    try:
        with named_field("video" if is_video else "image"), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # reading every pixel tells them
            file = inside(folder / ("videos" if is_video else "images"), name)
            paths = _frames(file) if is_video else (file,)
            size, num_frames = measure(paths, is_video)
        with named_field("mask"):
            found = _video_masks(folder, name, paths, size, num_frames) if is_video else _mask(folder, name, size)
    except FieldError as error:
        yield RecordError(rows[0].where, error.field, str(error))
        return
    dialogues = []
    for row in rows:
        try:
            with named_field("object"):
                dialogues.append(_dialogue(row, found, name))
        except FieldError as error:
            yield RecordError(row.where, error.field, str(error))
    if dialogues:
        yield Record(rows[0].where, paths, is_video, size, num_frames, tuple(dialogues), source)


def _dialogue(row: Row, found: Found, where: str) -> Dialogue:
    if not row.objects:
        return expression_dialogue(row.text, None)
    known = sorted({number for frame in found for number in frame})
    missing = [number for number in row.objects if number not in known]
    if missing:
        held = f"holds {', '.join(map(str, known[:20]))}" if known else "has none: no mask in masks/, or an empty one"
        raise ValueError(f"no object {missing[0]} in the mask of {where}, which {held}; leave empty for no target")
    codes = [[frame[number] for number in row.objects if number in frame] for frame in found]
    return expression_dialogue(row.text, tuple(unite_masks(parts) if parts else None for parts in codes))


def _mask(folder: Path, name: str, size: tuple[int, int]) -> Found:
    """Of a picture: none where there is no mask."""
    try:
        path = inside(folder / "masks", str(Path(name).with_suffix(".png")))
    except FileNotFoundError:
        return ({},)
    return (_codes(path, size),)


def _codes(path: str, size: tuple[int, int]) -> dict[int, Code]:
    own, codes = mask_codes(path)
    if own != size:
        raise ValueError(
            f"{path} is {own[1]} x {own[0]} but its picture is {size[1]} x {size[0]} (width x height); a mask has "
            "the size of its picture"
        )
    return codes


def _frames(path: str) -> tuple[str, ...]:
    """The frame pictures of a folder in natural order; a video file as it is."""
    if not os.path.isdir(path):
        return (path,)
    return tuple(map(str, open_visual(path).paths))


def _video_masks(folder: Path, name: str, paths: tuple[str, ...], size: tuple[int, int], num_frames: int) -> Found:
    stem = name if is_picture_name(paths[0]) else str(Path(name).with_suffix(""))
    masks = Path(os.path.abspath(folder)) / "masks"
    if (masks / f"{stem}.json").is_file():
        return _listed(inside(masks, f"{stem}.json"), size, num_frames)
    if not (masks / stem).is_dir():
        return ({},) * num_frames
    place = Path(inside(masks, stem))
    frames = _frame_numbers(paths, num_frames)
    found: list[dict[int, Code]] = [{} for _ in range(num_frames)]
    for path in sorted(place.glob("*.png")):
        number = frames.get(path.stem, frames.get(path.stem.lstrip("0") or "0"))
        if number is None:
            raise ValueError(
                f"{path} belongs to no frame of the video, which has {num_frames}; a mask is called like its frame "
                "picture, or by the number of the frame from 0"
            )
        found[number] = _codes(str(path), size)
    return tuple(found)


def _frame_numbers(paths: tuple[str, ...], num_frames: int) -> dict[str, int]:
    if is_picture_name(paths[0]):
        return {Path(path).stem: number for number, path in enumerate(paths)}
    return {str(number): number for number in range(num_frames)}


@lru_cache(maxsize=2)
def _listed(path: str, size: tuple[int, int], num_frames: int) -> Found:
    """Masks as lists of codes, one list per object."""
    found: list[dict[int, Code]] = [{} for _ in range(num_frames)]
    for key, listed in read_json_object(Path(path)).items():
        if not key.isdigit() or key == "0":
            raise ValueError(f"{path}: objects are numbered from 1, got {key!r:.40}")
        try:
            codes = video_codes(listed, size, num_frames) or ()
        except ValueError as error:
            raise ValueError(f"{path}, object {key}: {error}") from error
        for frame, code in zip(found, codes, strict=False):
            if code is not None and mask_area(code):
                frame[int(key)] = code
    return tuple(found)


__all__ = ["read_folder"]
