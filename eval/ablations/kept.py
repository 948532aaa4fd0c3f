"""Figures that are measured once and kept: how many steps take equal time, which learning rate an arm gets.

Enters: a JSON file of a grid, a key, and a way to measure. Leaves: the value, the same ever after, whoever asks: a
grid that goes on must not change its own terms half-way.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from desa2va.eval.report_file import write_report
from desa2va.training.folder_lock import folder_lock


def read_kept(path: Path) -> dict[str, Any]:
    """All that is kept in a file; nothing where it is missing."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def kept_or_measured(path: Path, key: str, measure: Callable[[], Any]) -> Any:
    """The value of `key`; where there is none what `measure()` says, kept unless that is `None`.

    Of two grids that measure at once the first to write is right for both.
    """
    known = read_kept(path)
    if key in known or (value := measure()) is None:
        return known.get(key)
    with folder_lock(path.parent, wait=True):
        known = read_kept(path)
        if key not in known:
            write_report(path, {**known, key: value})
            return value
        return known[key]


__all__ = ["kept_or_measured", "read_kept"]
