"""COCO instances and expressions that name annotations.

Enters: `instances.json` as COCO writes it, and `expressions.json`: `{"items": [{"image_id", "caption"?,
"expressions": [{"text", "ann_ids"}]}]}`. Several `ann_ids` mean their union, none that nothing in the picture fits.
Leaves: one record per item. Masks are polygons or run-length codes of any spelling. (Paper section 4.)
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from desa2va.training.data.mask_parts import picture_codes
from desa2va.training.data.record_media import measure
from desa2va.training.data.records import Dialogue, Record, RecordError, expression_dialogue, inside

from .finetune import default_root
from .finetune_texts import check_expression, dialogues
from .json_entries import FieldError, named_field, read_json_object

COCO_KEYS = ("images", "annotations", "categories", "licenses", "info")


def read_coco(
    path: str | os.PathLike,
    expressions: str | os.PathLike | None = None,
    image_root: str | os.PathLike | None = None,
    captions: bool = False,
) -> Iterator[Record | RecordError]:
    """One record per item of the expressions.

    Args:
        path: `instances.json`, or the folder that holds it.
        expressions: the file of expressions; `expressions.json` beside the instances by default.
        image_root: where file names start from; `images` beside the file if there is one, else the file's own folder.
        captions: also learn the captions of items, as answers to "Describe the image."

    Raises:
        FileNotFoundError: no such file. ValueError: a file of another form; a wrong item is yielded as its
            `RecordError`.
    """
    path = Path(path)
    path = path / "instances.json" if path.is_dir() else path
    said = path.parent / "expressions.json" if expressions is None else Path(expressions)
    coco = read_json_object(path)
    pictures, annotations = (_by_id(path, coco, key) for key in ("images", "annotations"))
    licences = {entry.get("id"): entry.get("name") for entry in coco.get("licenses", ()) if isinstance(entry, dict)}
    items = read_json_object(said).get("items")
    if not isinstance(items, list) or not items:
        raise ValueError(f'{said} must hold {{"items": [...]}}, a list of pictures with their expressions')
    root = Path(os.path.abspath(default_root(path) if image_root is None else image_root))
    reader = _Items(pictures, annotations, licences, root, captions)
    for number, item in enumerate(items):
        where = f"{said.name}, item {number}"
        try:
            yield reader.record(item, where, str(said))
        except FieldError as error:
            yield RecordError(where, error.field, str(error))


def _by_id(path: Path, coco: dict[str, Any], key: str) -> dict[Any, dict[str, Any]]:
    entries = coco.get(key)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) and "id" in entry for entry in entries):
        raise ValueError(f"{path}: {key!r} must be a list of objects with an 'id', as COCO has it")
    return {entry["id"]: entry for entry in entries}


class _Items:
    """Turns items into records. What is wrong is a `FieldError`."""

    def __init__(self, pictures: dict, annotations: dict, licences: dict, root: Path, captions: bool) -> None:
        self.pictures, self.annotations, self.licences = pictures, annotations, licences
        self.root, self.captions = root, captions

    def record(self, item: Any, where: str, source: str) -> Record:
        """The record of an item."""
        with named_field("image"), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            number = item.get("image_id") if isinstance(item, dict) else None
            picture = self.pictures.get(number) if isinstance(number, int | str) else None
            if picture is None:
                raise ValueError(f"image_id {number!r:.40} is not among the images of the COCO file")
            path = inside(self.root, str(picture.get("file_name")))
            size, _ = measure((path,), False)
            stated = picture.get("height", size[0]), picture.get("width", size[1])
            if stated != size:
                raise ValueError(
                    f"{path} is {size[1]} x {size[0]} but the COCO file says {stated[1]} x {stated[0]} (width x "
                    "height); its masks belong to that size"
                )
        with named_field("expressions"):
            asked = item.get("expressions", [])
            if not isinstance(asked, list) or not all(isinstance(entry, dict) for entry in asked):
                raise ValueError("'expressions' is a list of objects with 'text' and 'ann_ids'")
        found = [self._dialogue(entry, which, number, size) for which, entry in enumerate(asked)]
        if self.captions:
            found += [Dialogue("chat", turns) for turns in dialogues({"caption": item.get("caption")})]
        if not found:
            raise FieldError("expressions", "nothing to learn: no expression")
        licence = self.licences.get(picture.get("license"))
        name = f"{where} ({path})"
        return Record(name, (path,), False, size, 1, tuple(found), source, licence=licence)

    def _dialogue(self, entry: dict[str, Any], which: int, image: Any, size: tuple[int, int]) -> Dialogue:
        with named_field(f"text {which}"):
            check_expression(entry.get("text"))
        with named_field(f"mask {which}"):
            numbers = entry.get("ann_ids", [])
            if not isinstance(numbers, list) or not all(isinstance(value, int | str) for value in numbers):
                raise ValueError(
                    f"'ann_ids' is a list of the ids of annotations, empty for no target; got {numbers!r:.60}"
                )
            parts: list[Any] = []
            for number in numbers:
                annotation = self.annotations.get(number)
                if annotation is None or annotation.get("image_id") != image:
                    raise ValueError(f"{entry['text']!r:.80}: picture {image} has no annotation {number!r:.40}")
                shape = annotation.get("segmentation")
                parts += shape if isinstance(shape, list) else [shape]
            codes = picture_codes(parts if numbers else None, size)
        return expression_dialogue(entry["text"].strip(), codes, ids={"image_id": image})


__all__ = ["COCO_KEYS", "read_coco"]
