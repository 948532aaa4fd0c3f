"""Which kind of data set a path is, told by what is there.

Enters: a path, `hub:owner/name`, or nothing. Leaves: the reader of its kind, or one sentence that lists the kinds.
(Engineering; no paper section.)
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .coco import COCO_KEYS, read_coco
from .expression_table import COLUMNS, SUFFIXES, find_table
from .finetune import read_finetune
from .folder import read_folder
from .json_entries import Unreadable, read_entries
from .tables import HUB, is_table, read_table

KINDS = {
    "a fine-tune file (JSON list or .jsonl of image or video, text, mask)": read_finetune,
    "COCO (instances.json with expressions.json beside it)": read_coco,
    "a folder (images/ or videos/, masks/ of indexed PNG, expressions.csv or .jsonl)": read_folder,
    "a data set of `datasets` (Parquet, Arrow, saved to disk, written by `desa2va data prepare`, or hub:owner/name)": (
        read_table
    ),
}
_FIRST_KEY = re.compile(r'\s*\{\s*"(\w+)"')


def own_reader(name: str) -> Callable[..., Any]:
    """The reader for a user's own data.

    Raises:
        FileNotFoundError: there is nothing of that name. ValueError: something of no known kind.
    """
    path = Path(name)
    if name.startswith(HUB):
        return read_table
    if not path.exists():
        raise FileNotFoundError(f"there is no file or folder {name}; a data set is {_listed()}")
    reader = _of_folder(path) if path.is_dir() else _of_file(path)
    if reader is None:
        raise ValueError(f"{name}: of no kind that is known; a data set is {_listed()}")
    return reader


def _listed() -> str:
    return ", or ".join(KINDS)


def _of_folder(path: Path) -> Callable[..., Any] | None:
    if (path / "instances.json").is_file():
        return read_coco
    if is_table(path):
        return read_table
    has_visuals = (path / "images").is_dir() or (path / "videos").is_dir()
    return read_folder if has_visuals and find_table(path) is not None else None


def _of_file(path: Path) -> Callable[..., Any] | None:
    if path.suffix in (".parquet", ".arrow"):
        return read_table
    if path.suffix == ".jsonl":
        return read_folder if _is_table_row(path) else read_finetune
    if path.suffix in SUFFIXES:
        return read_folder
    if path.suffix != ".json":
        return None
    with path.open("rb") as file:
        first = _FIRST_KEY.match(file.read(4096).decode("utf-8-sig", "replace"))
    return read_coco if first is not None and first[1] in COCO_KEYS else read_finetune


def _is_table_row(path: Path) -> bool:
    """Whether the first line of JSON lines is one expression, not a record with lists of texts and masks."""
    entry = next(iter(read_entries(path)), None)
    if isinstance(entry, Unreadable) or not isinstance(entry, dict) or "mask" in entry:
        return False
    return any(isinstance(entry.get(name), str) for name in COLUMNS["expression"])


__all__ = ["KINDS", "own_reader"]
