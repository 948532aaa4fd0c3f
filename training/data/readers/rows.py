"""Rows of annotation files: a file enters, its rows leave one after the other, each with what is wrong in it told.

A row that can not be used becomes a `RecordError` in the record's place, and the others are read all the same. Nothing
is skipped in silence but what a set's own rules leave out. (Engineering; no paper section.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from desa2va.processing.files import is_text
from desa2va.training.data.records import Record, RecordError

from .annotation_files import read_file
from .json_entries import FieldError, Unreadable, read_entries


def attempt(name: str, make: Callable[..., Record | None], *args: Any) -> Iterator[Record | RecordError]:
    """What `make(*args)` makes of a row: its record, its problem, or nothing where it returns `None`.

    Args:
        name: what the row is called: file and row.
    """
    try:
        made = make(*args)
    except FieldError as error:
        yield RecordError(name, error.field, str(error))
    except (ValueError, OSError) as error:
        yield RecordError(name, "record", str(error))
    else:
        if made is not None:
            yield made


def need(row: Any, key: str, kind: Any) -> Any:
    """The value of a key that a row has to have, of a type or one of several (`list | dict`).

    Raises:
        FieldError: no such key, another type, or a text that is no Unicode.
    """
    if isinstance(row, Unreadable):
        raise FieldError("record", row.reason)
    if not isinstance(row, dict):
        raise FieldError("record", f"a row is an object with named fields, got {type(row).__name__}")
    if key not in row:
        raise FieldError(key, f"is missing; the row has {', '.join(map(str, row)):.100}")
    value = row[key]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise FieldError(key, f"must be {getattr(kind, '__name__', kind)}, got {type(value).__name__}")
    if kind is str and not is_text(value):
        raise FieldError(key, f"is no Unicode text: {value!r:.60}")
    return value


def read_object(path: Path) -> dict[str, Any]:
    """A JSON file that holds one object, of any size.

    Raises:
        FileNotFoundError: no such file. ValueError: no JSON, or no object.
    """
    found = read_file(path)
    if not isinstance(found, dict):
        raise ValueError(f"{path} must hold a JSON object, got {type(found).__name__}")
    return found


def by_id(path: Path, table: Any, name: str) -> dict[int | str, Any]:
    """The rows of one list of a COCO file by their `id`.

    Raises:
        ValueError: no such list, or a row without an id; file and row are named.
    """
    try:
        rows = need(table, name, list)
    except FieldError as error:
        raise ValueError(f"{path}, {error.field}: {error}") from error
    for number, row in enumerate(rows):
        if not isinstance(row, dict) or not isinstance(row.get("id"), int | str):
            raise ValueError(f"{path}, {name} {number}: every entry has an 'id', a number or a text; got {row!r:.60}")
    return {row["id"]: row for row in rows}


def list_rows(path: Path) -> Iterator[tuple[str, Any]]:
    """The entries of a JSON list, each after its name: file and row.

    Raises:
        FileNotFoundError, ValueError: see `read_entries`.
    """
    for number, row in enumerate(read_entries(path)):
        yield f"{path.name}, row {number}", row


__all__ = ["attempt", "by_id", "list_rows", "need", "read_object"]
