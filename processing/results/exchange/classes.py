"""The classes that formats with numbered classes know objects by: their phrases.

In: objects. Out: names on one line each, sorted. (Engineering; no paper section.)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def class_names(objects: Iterable[Any]) -> list[str]:
    """The classes of some objects: their phrases, sorted, `"object"` where there is none."""
    return sorted({class_name(entry) for entry in objects})


def class_name(entry: Any) -> str:
    """The phrase of an object on one line."""
    return " ".join((entry.phrase or "object").split())


__all__ = ["class_name", "class_names"]
