"""Where a report goes: checked before minutes are spent, complete or absent afterwards.

A path and plain values enter, a JSON file leaves. (Engineering; no paper section.)
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from desa2va.processing.files import write_file


def check_target(option: str, path: Path) -> None:
    """Whether a file can be written at `path`, the value of the command's `option`.

    Raises:
        IsADirectoryError: `path` is a folder. FileNotFoundError: its folder does not exist.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{option} {path} is a folder; give the name of a file")
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"{option} {path}: the folder {path.absolute().parent} does not exist")


def write_report(path: Path, report: dict[str, Any]) -> None:
    """Writes indented JSON in place of what was there: complete, or not at all."""
    text = json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"), overwrite=True)


__all__ = ["check_target", "write_report"]
