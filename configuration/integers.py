"""Whole numbers as callers give them: Python's, numpy's, and tensors with one.

Enters: any value. Leaves: an `int`, or an error that names what was given and where.
"""

from __future__ import annotations

import operator
from typing import Any


def is_integer(value: Any) -> bool:
    """Whether a value is a whole number by its type: whatever has `__index__` and is no boolean."""
    try:
        operator.index(value)
    except TypeError:
        return False
    return str(getattr(value, "dtype", type(value).__name__)) not in ("bool", "torch.bool")


def as_integer(value: Any, name: str, least: int | None = None, most: int | None = None) -> int:
    """A value as `int`.

    Args:
        value: what was given. name: of the argument, for messages. least, most: smallest and largest
            value allowed.

    Raises:
        TypeError: no whole number; `True` and `2.0` are none.
        ValueError: below `least`, or above `most`.
    """
    if not is_integer(value):
        raise TypeError(f"{name}={value!r:.200} must be an integer, not {type(value).__name__}")
    number = operator.index(value)
    if least is not None and number < least:
        raise ValueError(f"{name}={number} must be at least {least}")
    if most is not None and number > most:
        raise ValueError(f"{name}={number!r:.20} must be at most {most}")
    return number


__all__ = ["as_integer", "is_integer"]
