"""ReasonSeg: questions whose answer is a mask, and explanations of some of them.

Enters: one JSON of outlines beside each picture. Leaves: one record per picture. The ground truth is painted as the
published evaluator paints it: larger shapes first, smaller ones over them, shapes labelled "ignore" out of the scores.
(Paper section 4: reasoning segmentation.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from desa2va.processing.files import encode_mask, parse_json
from desa2va.training.data.records import Dialogue, Record, RecordError, expression_dialogue
from desa2va.training.data.wording import SINGLE_ANSWER

from .annotation_files import check_split
from .json_entries import FieldError, named_field
from .opencv_polygons import fill_polygon
from .pictures import PictureFolders, look_at, picture_record
from .rows import attempt, list_rows, need
from .status import Reader, Status

HOMES = ("reason_seg/ReasonSeg", "ReasonSeg", ".")
SIZES = {"train": 239, "val": 200, "test": 779}
IGNORED = 255
EXPLAIN = "Explain why."


def read_reasonseg(root: Path, split: str, rewordings: bool | None = None) -> Iterator[Record | RecordError]:
    """The pictures of a split, by their names.

    Args:
        root: the data folder, or that of the set. split: "train", "val" or "test".
        rewordings: all wordings of a question, as alternatives, and the explanations; or the first wording alone,
            which scores are for. By default as the split asks for.

    Raises:
        FileNotFoundError, ValueError: no such split, or explanations that can not be read.
    """
    check_split("reasonseg", split, tuple(SIZES))
    home = _home(Path(root))
    if not (home / split).is_dir():
        raise FileNotFoundError(f"there is no folder {home / split}")
    pictures = PictureFolders(home, [split])
    rewordings = split == "train" if rewordings is None else rewordings
    explanations = _explanations(home / "explanatory" / "train.json") if rewordings else {}
    for file in sorted((home / split).glob("*.json")):
        yield from attempt(f"ReasonSeg/{split}/{file.name}", _record, file, pictures, rewordings, explanations)


def _home(root: Path) -> Path:
    homes = [root / home for home in HOMES]
    return next((home for home in homes if any((home / split).is_dir() for split in SIZES)), homes[0])


def _explanations(file: Path) -> dict[str, str]:
    """Explanations by the picture's name; none where the file is absent."""
    if not file.is_file():
        return {}
    return {need(row, "image", str): need(row, "outputs", str).strip() for _, row in list_rows(file)}


def _record(file: Path, pictures: PictureFolders, rewordings: bool, explanations: dict[str, str]) -> Record | None:
    path, size = pictures.measured(f"{file.stem}.jpg")
    row = parse_json(_text(file), str(file))
    texts = [text.strip() for text in need(row, "text", list) if isinstance(text, str) and text.strip()]
    if not texts:
        raise FieldError("text", "holds no question")
    is_sentence = need(row, "is_sentence", bool | int)
    target, ignored = paint(need(row, "shapes", list), size)
    ids = {"image_id": file.stem, "is_sentence": int(is_sentence)}
    codes, ignored_codes = (encode_mask(target),), (encode_mask(ignored),) if ignored.any() else ()
    made = [
        _worded(expression_dialogue(text, codes, 0, ids, ignored_codes), text, bool(is_sentence))
        for text in (texts if rewordings else texts[:1])
    ]
    name = Path(path).name
    if name in explanations:
        made.append(_explained(made[0], explanations[name]))
    return picture_record(name, path, size, made, str(file))


def _text(file: Path) -> str:
    """Some files are no UTF-8."""
    content = file.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252")


def _worded(dialogue: Dialogue, text: str, is_sentence: bool) -> Dialogue:
    """A whole sentence stays as it is, and the request follows it; a short query is asked for as any expression."""
    if not is_sentence:
        return dialogue
    return replace(dialogue, turns=((f"{text} Please output the segmentation mask.", SINGLE_ANSWER),))


def _explained(dialogue: Dialogue, explanation: str) -> Dialogue:
    (request, answer), *_ = dialogue.turns
    turns = ((f"{request} {EXPLAIN}", f"{answer} {explanation}"),)
    return replace(dialogue, turns=turns, ids={**dialogue.ids, "explained": 1})


def paint(shapes: Sequence[Any], size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The target and the ignored pixels: two bool `(H, W)`.

    Raises:
        FieldError: a shape without label or points.
    """
    painted = []
    for number, shape in enumerate(shapes):
        with named_field(f"shapes {number}"):
            label = need(shape, "label", str).lower()
            if label != "flag":  # what was left of an older way of labelling
                painted.append((IGNORED if "ignore" in label else 1, fill_polygon(_points(shape), size)))
    canvas = np.zeros(size, np.uint8)
    # Of equal areas the later one comes first, as numpy's sort of the areas, turned round, has it.
    for place in np.argsort([mask.sum() for _, mask in painted], kind="stable")[::-1]:
        value, mask = painted[place]
        canvas[mask] = value
    return canvas == 1, canvas == IGNORED


def _points(shape: Any) -> list[Any]:
    points = need(shape, "points", list)
    numbers = [value for point in points if isinstance(point, list) and len(point) == 2 for value in point]
    if not points or len(numbers) != 2 * len(points) or not all(isinstance(value, int | float) for value in numbers):
        raise ValueError(f"points are a list of [x, y], got {points!r:.60}")
    if not np.abs(numbers).max() < 2**24:
        raise ValueError("a point lies beyond any picture")
    return points


def present(root: Path) -> Status:
    """What of the set is there."""
    folders = {"|".join(f"{home}/{split}" for home in HOMES[:2]): size for split, size in SIZES.items()}
    return look_at(root, [], folders, "https://github.com/dvlab-research/LISA")


REASONSEG_READERS = {"reasonseg": Reader(read_reasonseg, present, tuple(SIZES))}

__all__ = ["REASONSEG_READERS", "paint", "read_reasonseg"]
