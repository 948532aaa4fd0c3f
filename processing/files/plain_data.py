"""Plain data of unknown origin to typed values: JSON enters, dataclasses leave, or one `ValueError` that says where.

Every file this package reads back goes through here (results, frame results, sessions), so that a wrong type, a number
that is none or a mask that does not fill its picture is found before anything is built from it. (Engineering; no paper
section.)
"""

from __future__ import annotations

import json
import math
import os
import types
from collections.abc import Iterable
from dataclasses import MISSING, fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypedDict, TypeVar, Union, get_args, get_origin, get_type_hints

from .mask_codec import check_code

MAX_JSON_BYTES = 2**30
_LARGEST_INTEGER = 2**53  # JSON's readers elsewhere hold no larger one exactly

Plain = TypeVar("Plain")


class Code(TypedDict):
    """A mask as COCO run-length code. Attributes: size: [H, W]. counts: as text."""

    size: list[int]
    counts: str


def parse_json(text: str | bytes, where: str) -> Any:
    """Python's value of a JSON text.

    Raises:
        ValueError: no JSON, nested too deeply, or a number that JSON does not have; `where` begins the message.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError(f"{where}: nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"{where}: not valid JSON ({error})") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def read_json(path: str | os.PathLike) -> Any:
    """Python's value of a JSON file.

    Raises:
        FileNotFoundError: no such file. ValueError: no JSON, or more than `MAX_JSON_BYTES`; the file is named.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file}")
    if file.stat().st_size > MAX_JSON_BYTES:
        raise ValueError(f"{file}: a JSON file of more than {MAX_JSON_BYTES} bytes is refused")
    return parse_json(file.read_bytes(), str(file))


@lru_cache(maxsize=64)
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def read_dataclass(cls: type[Plain], data: Any, where: str, skip: Iterable[str] = (), **known: Any) -> Plain:
    """Builds a dataclass from a dictionary by the types its fields are declared with.

    Args:
        cls: its fields are numbers, texts, `Code`, other dataclasses, and lists, tuples and options of these.
        data: what a file holds.
        where: begins messages.
        skip: fields that no file holds; they keep their defaults.
        known: fields given by the caller instead.

    Raises:
        ValueError: no dictionary, an unknown or missing field, or a value of another type.
    """
    if not isinstance(data, dict):
        raise ValueError(f"{where} must be an object with named fields, got {type(data).__name__}")
    readable = {item.name: item for item in fields(cls) if item.name not in {*skip, *known}}
    unknown = sorted(str(name) for name in set(data) - set(readable))
    if unknown:
        raise ValueError(f"{where} has the unknown fields {', '.join(unknown):.80}")
    missing = [
        name
        for name, item in readable.items()
        if name not in data and item.default is MISSING and item.default_factory is MISSING
    ]
    if missing:
        raise ValueError(f"{where} lacks {', '.join(missing)}")
    hints = _hints(cls)
    values = {name: typed(data[name], hints[name], f"{where}: {name}") for name in readable if name in data}
    return cls(**values, **known)


def typed(value: Any, hint: Any, where: str) -> Any:
    """A plain value as the type it is declared with: lists become tuples where that is declared, integers floats.

    Raises:
        ValueError: a value of another type, a number that is not finite, a text that is no Unicode.
    """
    kind, inner = get_origin(hint), get_args(hint)
    if kind in (Union, types.UnionType):
        options = [option for option in inner if option is not type(None)]
        return None if value is None and len(options) < len(inner) else typed(value, options[0], where)
    if kind in (list, tuple):
        return _sequence(value, kind, inner, where)
    if hint is Code:
        try:
            return check_code(value)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
    if is_dataclass(hint):
        return read_dataclass(hint, value, where)
    return _scalar(value, hint, where)


def _sequence(value: Any, kind: type, inner: tuple[Any, ...], where: str) -> Any:
    if not isinstance(value, list | tuple):
        raise ValueError(f"{where} must be a list, got {type(value).__name__}")
    if kind is list or inner[1:] == (...,):
        return kind(typed(entry, inner[0], f"{where}[{place}]") for place, entry in enumerate(value))
    if len(value) != len(inner):
        raise ValueError(f"{where} must hold {len(inner)} values, got {len(value)}")
    pairs = zip(value, inner, strict=True)
    return tuple(typed(entry, hint, f"{where}[{place}]") for place, (entry, hint) in enumerate(pairs))


def _scalar(value: Any, hint: type, where: str) -> Any:
    if hint is float and type(value) in (int, float):
        if abs(value) > _LARGEST_INTEGER or not math.isfinite(value):
            raise ValueError(f"{where} must be a finite number, got {value!r:.30}")
        return float(value)
    if type(value) is not hint:
        raise ValueError(f"{where} must be {hint.__name__}, got {type(value).__name__}")
    if hint is int and abs(value) > _LARGEST_INTEGER:
        raise ValueError(f"{where} is too large: {value!r:.30}")
    if hint is str and not is_text(value):
        raise ValueError(f"{where} is no Unicode text: {value!r:.60}")
    return value


def is_text(value: Any) -> bool:
    """Whether a value is a text that can be written as UTF-8, which one with half a surrogate pair can not."""
    try:
        return isinstance(value, str) and value.encode("utf-8") is not None
    except UnicodeEncodeError:
        return False


__all__ = ["Code", "is_text", "parse_json", "read_dataclass", "read_json", "typed"]
