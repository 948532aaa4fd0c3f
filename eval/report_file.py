"""A report as a file: complete, or what was there before.

A path and plain values enter, a JSON file leaves. (Engineering; no paper section.)
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from desa2va.processing.files import write_file


def write_report(path: Path, report: dict[str, Any]) -> None:
    """Writes indented JSON in place of what was there: complete, or not at all."""
    text = json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"), overwrite=True)


__all__ = ["write_report"]
