"""The text of a JSON file to raw records, each read on its own, and the field in which something is wrong.

Enters: a JSON list, or one record per line. Leaves: raw records; one that can not be read stands in the list as
`Unreadable`, so that the others are checked all the same. (Engineering; no paper section.)
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

_DIGITS = 40  # of an integer; longer ones are infinite, which no field takes
_BLANKS = " \t\r\n"
_SPACE = re.compile(f"[{_BLANKS}]*")
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


@dataclass(frozen=True)
class Unreadable:
    """Stands for a record that is no JSON; `reason` says why."""

    reason: str


class FieldError(ValueError):
    """What is wrong with one `field` of a record."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@contextmanager
def named_field(name: str) -> Iterator[None]:
    """Names the field in whatever is wrong inside."""
    try:
        yield
    except RecursionError as error:
        raise FieldError(name, "nested too deeply") from error
    except (ValueError, OSError) as error:
        raise FieldError(name, str(error)) from error


def read_entries(path: str | os.PathLike) -> Iterator[Any]:
    """The raw records of a JSON list or of JSON lines, one after the other.

    Raises:
        FileNotFoundError: no such file. ValueError: no JSON list (the record is named), or no records. A line that is
            no JSON, or a record that is nested too deeply, is `Unreadable` instead.
    """
    path = Path(path)
    decoder = json.JSONDecoder(parse_int=_integer)
    if path.suffix == ".jsonl" or _first_mark(path) == "{":
        entries = _lines(decoder, path)
    else:
        entries = _list(decoder, read_text(path), str(path))
    count = 0
    for count, entry in enumerate(entries, 1):  # noqa: B007
        yield entry
    if not count:
        raise ValueError(f"{path} must hold a list of records, and at least one")


def _first_mark(path: Path) -> str:
    """The first character of a file that is no blank."""
    with _opened(path) as file:
        return next((line.lstrip()[0] for line in file if line.strip()), "")


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """A text file as UTF-8, with or without a byte order mark; lines end with a line feed alone, since texts may hold
    what else breaks lines.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            yield file
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text ({error})") from error


def read_text(path: Path) -> str:
    """A text file as UTF-8, with or without a byte order mark.

    Raises:
        FileNotFoundError: no such file. ValueError: no UTF-8.
    """
    with _opened(path) as file:
        return file.read()


def read_json_object(path: Path) -> dict[str, Any]:
    """The JSON object a file holds.

    Raises:
        FileNotFoundError: no such file. ValueError: no JSON, or no object.
    """
    try:
        content = json.JSONDecoder(parse_int=_integer).decode(read_text(path).strip(_BLANKS))
    except RecursionError as error:
        raise ValueError(f"{path}: nested too deeply") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a JSON object, got {type(content).__name__}")
    return content


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < _DIGITS else math.copysign(math.inf, -1 if digits[0] == "-" else 1)


def _lines(decoder: json.JSONDecoder, path: Path) -> Iterator[Any]:
    """One record per line."""
    with _opened(path) as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                entry = decoder.decode(line.strip(_BLANKS))
            except RecursionError:
                entry = Unreadable(f"line {number} is nested too deeply")
            except ValueError as error:
                entry = Unreadable(f"line {number} is not valid JSON ({error})")
            yield entry


def _list(decoder: json.JSONDecoder, text: str, where: str) -> Iterator[Any]:
    """The entries of a JSON list, one after the other."""
    place = _SPACE.match(text).end()
    if text[place : place + 1] != "[":
        raise ValueError(f"{where} must hold a list of records, and at least one")
    count, mark, place = 0, "[", _SPACE.match(text, place + 1).end()
    if text[place : place + 1] == "]":
        mark, place = "]", place + 1
    while mark != "]":
        try:
            entry, place = decoder.raw_decode(text, place)
        except RecursionError:
            entry, place = Unreadable("nested too deeply"), _past(text, place)
        except ValueError as error:
            raise ValueError(f"{where}, record {count}: not valid JSON ({error})") from error
        yield entry
        place = _SPACE.match(text, place).end()
        mark, place = text[place : place + 1], _SPACE.match(text, place + 1).end()
        if mark not in ("]", ","):
            raise ValueError(f"{where}, after record {count}: not valid JSON (no comma or bracket)")
        count += 1
    if text[place:].strip():
        raise ValueError(f"{where}: not valid JSON (text after the list)")


def _past(text: str, place: int) -> int:
    """The place behind the value that begins at `place`, found by counting brackets."""
    depth = 0
    for match in _BRACKETS.finditer(text, place):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(match.group(), 0)
        if depth == 0:
            return match.end()
    return len(text)


__all__ = ["FieldError", "Unreadable", "named_field", "read_entries", "read_json_object", "read_text"]
