"""What readers share about files: JSON of any length, names of splits, numbers of videos.

(Engineering; no paper section.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from desa2va.processing.files import parse_json

from .status import Status


def read_file(path: Path) -> Any:
    """Content of a JSON file of any length.

    Raises:
        FileNotFoundError: no such file. ValueError: no JSON.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no annotation file {path}")
    return parse_json(path.read_bytes(), str(path))


def check_split(source: str, split: str, splits: Sequence[str]) -> None:
    """Raises `ValueError` where a set has no such split."""
    if split not in splits:
        raise ValueError(f"{source} has no split {split!r}; it has {', '.join(splits)}")


def count_videos(status: Status, root: Path, counts: Mapping[str, int]) -> Status:
    """A status in which folders of videos that hold fewer than the set does count as missing, too.

    Args:
        counts: number of videos by folder, relative to the root; an absent folder is missing anyway.
    """
    short = []
    for folder, count in counts.items():
        if folder in status.found:
            found = sum(1 for entry in (root / folder).iterdir() if entry.is_dir())
            if found < count:
                short.append(f"{folder} ({found} of {count} videos)")
    return replace(status, missing=(*status.missing, *short))


__all__ = ["check_split", "count_videos", "read_file"]
