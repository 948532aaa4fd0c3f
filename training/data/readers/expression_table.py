"""A table of expressions: CSV or JSON lines enter, rows leave, each with its place for errors.

| column | also called | what it holds |
|---|---|---|
| `image` or `video` | `file`, `file_name` | a picture or video, named below `images/` or `videos/` |
| `expression` | `text`, `sentence` | e.g. `the dog on the left` |
| `object` | `objects`, `index`, `object_id` | its number in the mask; several (`2;5`): their union; empty: no target |

(Engineering; no paper section.)
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from desa2va.training.data.records import RecordError

from .finetune_texts import check_expression
from .json_entries import FieldError, Unreadable, named_field, read_entries, read_text

COLUMNS = {
    "image": ("image", "file", "file_name"),
    "video": ("video",),
    "expression": ("expression", "text", "sentence"),
    "object": ("object", "objects", "index", "object_id"),
}
SUFFIXES = (".csv", ".tsv", ".jsonl")


@dataclass(frozen=True)
class Row:
    """An expression of a table.

    Attributes:
        where: file, line and picture, for errors. name: of the picture or video. is_video: which of the two.
        text: the expression. objects: the numbers it refers to; none: no target.
    """

    where: str
    name: str
    is_video: bool
    text: str
    objects: tuple[int, ...]


def find_table(folder: Path) -> Path | None:
    """The only table of a folder, or the one called `expressions`; `None` without any.

    Raises:
        ValueError: several, none of which is called `expressions`.
    """
    found = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)
    named = [path for path in found if path.stem == "expressions"] or found
    if len(named) > 1:
        raise ValueError(f"{folder} holds several tables ({', '.join(p.name for p in named)}); name the file itself")
    return named[0] if named else None


def read_table_rows(path: Path) -> Iterator[Row | RecordError]:
    """The rows of a table, checked; a wrong one is yielded as its `RecordError`.

    Raises:
        FileNotFoundError: no such file. ValueError: no table, or one without a column that is needed.
    """
    for place, entry in _entries(path):
        where = f"{path.name}, {place}"
        try:
            yield _row(entry, where)
        except FieldError as error:
            yield RecordError(where, error.field, str(error))


def _entries(path: Path) -> Iterator[tuple[str, Any]]:
    """Raw rows with the line they begin on (of JSON lines, their number)."""
    if path.suffix == ".jsonl":
        yield from ((f"row {number}", entry) for number, entry in enumerate(read_entries(path)))
        return
    between, called = ("\t", "tabs") if path.suffix == ".tsv" else (",", "commas")
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), delimiter=between)
    header = [str(name).strip() for name in reader.fieldnames or ()]
    for role in ("expression", "object"):
        if not set(COLUMNS[role]) & set(header):
            first = between.join(header)
            raise ValueError(
                f"{path}: no column {role!r} in its first line, {first!r:.200}, read as divided by {called}"
            )
    while True:
        line = reader.line_num + 1
        try:
            entry = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield f"line {line}", Unreadable(f"is no CSV ({error})")
            continue
        yield f"line {line}", {str(key).strip(): value for key, value in entry.items()}


def _row(entry: Any, where: str) -> Row:
    with named_field("row"):
        if isinstance(entry, Unreadable):
            raise ValueError(entry.reason)
        if not isinstance(entry, dict):
            raise ValueError(f"a row is a JSON object, got {type(entry).__name__}")
        values = {role: _first(entry, names) for role, names in COLUMNS.items()}
        named = [role for role in ("image", "video") if values[role] not in (None, "")]
        if len(named) != 1 or not isinstance(values[named[0]], str):
            raise ValueError('a row names either one "image" or one "video"')
    with named_field("expression"):
        check_expression(values["expression"])
    with named_field("object"):
        objects = _numbers(values["object"])
    name = values[named[0]].strip()
    return Row(f"{where} ({name:.200})", name, named[0] == "video", values["expression"].strip(), objects)


def _first(entry: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((entry[name] for name in names if name in entry), None)


def _numbers(value: Any) -> tuple[int, ...]:
    """Object numbers: an integer, a list, or a text such as `2;5`."""
    if value is None:
        return ()
    if isinstance(value, str):
        value = [part for part in re.split(r"[;,|\s]+", value.strip(" []")) if part]
    parts = value if isinstance(value, list) else [value]
    if not all(isinstance(part, int | str) and not isinstance(part, bool) for part in parts):
        raise ValueError(f"must be the number of an object in the mask, several as 2;5, or empty; got {value!r:.60}")
    try:
        numbers = tuple(int(part) for part in parts)
    except ValueError as error:
        raise ValueError(f"must be a number, several as 2;5, or empty for no target; got {value!r:.60}") from error
    if any(number < 1 for number in numbers):
        raise ValueError(f"objects are numbered from 1, 0 is the background; got {value!r:.60}")
    return numbers


__all__ = ["COLUMNS", "SUFFIXES", "Row", "find_table", "read_table_rows"]
