"""Writes fitted thresholds into a model's configuration, and nothing else of it.

What enters: a folder of a model or of an adapter, and fields of `DeSa2VAConfig`. What leaves: the same folder, whose
`config.json` (of an adapter `desa2va_fields.json`) holds the fields. (Engineering; no paper section.)
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from desa2va.processing.files import write_json

from .adapters import CONFIG_FILE, FIELDS_FILE


def own_folder(name: str | os.PathLike) -> Path | None:
    """The folder of a user's own model or adapter; `None` for the shipped model and a Hub id."""
    path = Path(os.path.expanduser(os.fspath(name)))
    return path if path.is_dir() else None


def fields_file(folder: Path) -> Path:
    """The file that holds the fields of a model's configuration, or those that an adapter changes."""
    is_adapter = (folder / CONFIG_FILE).is_file() and not (folder / "config.json").exists()
    return folder / (FIELDS_FILE if is_adapter else "config.json")


def write_fields(folder: Path, fields: dict[str, Any]) -> Path:
    """Writes fields of the configuration into a model's folder, or an adapter's.

    Args:
        folder: see `own_folder`. fields: names of `DeSa2VAConfig` and plain values.

    Returns:
        The file that was changed; it is replaced as a whole.
    """
    path = fields_file(folder)
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    write_json(path, known | fields, overwrite=True)
    return path


__all__ = ["fields_file", "own_folder", "write_fields"]
