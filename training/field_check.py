"""Keys and values of a mapping against what a class or function declares.

Enters: a mapping as YAML reads it, and declared fields with their types. Leaves: the mapping with numbers that were
written as text turned into numbers, or a sentence that names the key, where it stands and what would be right.
"""

from __future__ import annotations

import difflib
import inspect
import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from enum import Enum
from functools import cache, partial
from os import PathLike
from typing import Any

MANY = 20  # more known keys than this are not listed


def unknown_key(key: Any, known: Iterable[str], where: str) -> ValueError:
    """The error for a key nobody reads, with the nearest known one."""
    known = sorted(known)
    near = difflib.get_close_matches(str(key), known, n=1)
    if near:
        remedy = f"did you mean {near[0]!r}?"
    elif len(known) <= MANY:
        remedy = f"known are {', '.join(known)}"
    else:
        remedy = "none is alike"
    return ValueError(f"{where}: {key!r} is unknown; {remedy}")


@cache
def declared_fields(owner: Callable) -> dict[str, Any]:
    """Names and types of the keyword arguments of a class or function, `*args` and `**kwargs` left out.

    Of a `functools.partial` those that it leaves open.
    """
    if isinstance(owner, partial):
        return {name: hint for name, hint in declared_fields(owner.func).items() if name not in owner.keywords}
    hints: dict[str, Any] = {}
    # A dataclass' fields are typed in its body, others in `__init__`; either may inherit texts it cannot resolve.
    for target in (owner.__init__, owner) if isinstance(owner, type) else (owner,):
        with suppress(NameError):
            hints |= typing.get_type_hints(target)
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = inspect.signature(owner).parameters.values()
    return {p.name: hints.get(p.name, Any) for p in parameters if p.kind in named}


def check_mapping(value: Any, where: str) -> dict[str, Any]:
    """`value` as a new dictionary.

    Raises:
        ValueError: it is no mapping; an empty section reads as null.
    """
    if not isinstance(value, Mapping):
        raise ValueError(f"{where} must be a mapping of keys to values, got {_shown(value)}")
    return dict(value)


def check_fields(values: Any, known: dict[str, Any], where: str) -> dict[str, Any]:
    """`values` with every key declared in `known` and every value of its type.

    Args:
        values: mapping to check. known: type of each key. where: the place that an error names.

    Raises:
        ValueError: no mapping, an unknown key, or a value of another type.
    """
    values = check_mapping(values, where)
    for key in values:
        if key not in known:
            raise unknown_key(key, known, where)
    return {key: check_value(value, known[key], f"{where}.{key}") for key, value in values.items()}


def check_value(value: Any, hint: Any, where: str) -> Any:
    """`value` as one of the types `hint` names; text that can only mean a number becomes one.

    Raises:
        ValueError: no type fits.
    """
    options = _options(hint)
    if any(option is Any or _fits(value, option) for option in options):
        return _check_inside(value, options, where)
    if isinstance(value, str) and (number := _number(value, options)) is not None:
        return number
    if isinstance(value, float) and value.is_integer() and int in options:
        return int(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and str in options:
        return str(value)
    wanted = " or ".join(dict.fromkeys(_described(option) for option in options))
    raise ValueError(f"{where} must be {wanted}, got {_shown(value)}")


def _options(hint: Any) -> tuple[Any, ...]:
    """The members of a union, or the hint alone."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return tuple(option for member in typing.get_args(hint) for option in _options(member))
    return (hint,)


def _fits(value: Any, option: Any) -> bool:
    origin = typing.get_origin(option) or option
    if origin is typing.Literal:
        return value in typing.get_args(option)
    if origin is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if origin is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, origin)


def _check_inside(value: Any, options: tuple[Any, ...], where: str) -> Any:
    """Elements of a list and values of a mapping, where their type is declared."""
    for option in options:
        inner = typing.get_args(option)
        if isinstance(value, list) and typing.get_origin(option) is list:
            return [check_value(item, inner[0], f"{where}[{number}]") for number, item in enumerate(value)]
        if isinstance(value, dict) and typing.get_origin(option) is dict:
            return {key: check_value(item, inner[1], f"{where}.{key}") for key, item in value.items()}
    return value


def _number(text: str, options: tuple[Any, ...]) -> int | float | None:
    """What `text` says where a number is wanted, `None` where it says none."""
    try:
        value = float(text)
    except ValueError:
        return None
    if int in options and math.isfinite(value) and value.is_integer():
        return int(value)
    return value if float in options else None


def _described(option: Any) -> str:
    origin = typing.get_origin(option) or option
    if origin is typing.Literal:
        return " or ".join(repr(value) for value in typing.get_args(option))
    if isinstance(origin, type) and issubclass(origin, Enum):
        return " or ".join(repr(member.value) for member in origin)
    names = {bool: "true or false", int: "an integer", float: "a number", str: "text", list: "a list"}
    names |= {dict: "a mapping", type(None): "null", PathLike: "a path"}
    return names.get(origin, str(getattr(origin, "__name__", origin)))


def _shown(value: Any) -> str:
    if value is None:
        return "nothing (null)"
    text = repr(value)
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type(value).__name__})"


__all__ = ["check_fields", "check_mapping", "check_value", "declared_fields", "unknown_key"]
