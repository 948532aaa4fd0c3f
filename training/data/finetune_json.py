"""The text of a fine-tune JSON to raw records, each read on its own, and the problems that are found in them.

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
from typing import Any

_LONGEST = 500  # characters of a message
_DIGITS = 40  # of an integer; longer ones are infinite, which no field takes
_SPACE = re.compile(r"[ \t\r\n]*")
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


@dataclass(frozen=True)
class Unreadable:
    """Stands for a record that is no JSON; `reason` says why."""

    reason: str


@dataclass(frozen=True)
class Problem:
    """What is wrong with a record.

    Attributes:
        number: of the record, from 0. label: the file it names, where it does. field: what of it is wrong.
        message: what, and what would be right.
    """

    number: int
    label: str
    field: str
    message: str

    def __str__(self) -> str:
        label = f" ({self.label})" if self.label else ""
        line = " ".join(f"record {self.number}{label}, {self.field}: {self.message}".split())
        line = line if len(line) <= _LONGEST else f"{line[:_LONGEST]} ..."
        return line.encode("utf-8", "backslashreplace").decode("utf-8")


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


def read_entries(path: str | os.PathLike) -> list[Any]:
    """The raw records of a JSON list or of JSON lines.

    Raises:
        FileNotFoundError: no such file. ValueError: no JSON list (the record is named), or no records. A line that is
            no JSON, or a record that is nested too deeply, is `Unreadable` instead.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no fine-tune file {path}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text ({error})") from error
    decoder = json.JSONDecoder(parse_int=_integer)
    lines = path.suffix == ".jsonl" or text.lstrip().startswith("{")
    entries = _lines(decoder, text) if lines else _list(decoder, text, str(path))
    if not entries:
        raise ValueError(f"{path} must hold a list of records, and at least one")
    return entries


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < _DIGITS else math.copysign(math.inf, -1 if digits[0] == "-" else 1)


def _lines(decoder: json.JSONDecoder, text: str) -> list[Any]:
    """One record per line; a line ends with a line feed alone, since texts may hold what else breaks lines."""
    entries: list[Any] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            entries.append(decoder.decode(line))
        except RecursionError:
            entries.append(Unreadable(f"line {number} is nested too deeply"))
        except ValueError as error:
            entries.append(Unreadable(f"line {number} is not valid JSON ({error})"))
    return entries


def _list(decoder: json.JSONDecoder, text: str, where: str) -> list[Any]:
    """The entries of a JSON list, one after the other."""
    place = _SPACE.match(text).end()
    if text[place : place + 1] != "[":
        raise ValueError(f"{where} must hold a list of records, and at least one")
    entries: list[Any] = []
    mark, place = "[", _SPACE.match(text, place + 1).end()
    if text[place : place + 1] == "]":
        mark, place = "]", place + 1
    while mark != "]":
        try:
            entry, place = decoder.raw_decode(text, place)
        except RecursionError:
            entry, place = Unreadable("nested too deeply"), _past(text, place)
        except ValueError as error:
            raise ValueError(f"{where}, record {len(entries)}: not valid JSON ({error})") from error
        entries.append(entry)
        place = _SPACE.match(text, place).end()
        mark, place = text[place : place + 1], _SPACE.match(text, place + 1).end()
        if mark not in ("]", ","):
            raise ValueError(f"{where}, after record {len(entries) - 1}: not valid JSON (no comma or bracket)")
    if text[place:].strip():
        raise ValueError(f"{where}: not valid JSON (text after the list)")
    return entries


def _past(text: str, place: int) -> int:
    """The place behind the value that begins at `place`, found by counting brackets."""
    depth = 0
    for match in _BRACKETS.finditer(text, place):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(match.group(), 0)
        if depth == 0:
            return match.end()
    return len(text)


__all__ = ["FieldError", "Problem", "Unreadable", "named_field", "read_entries"]
