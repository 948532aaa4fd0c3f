"""What the readers of questions about videos share: rows of one video together, and where its file is.

(Engineering; no paper section.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from desa2va.training.data.records import Record, RecordError, inside

from .tables import TableRecords

Row = dict[str, Any]


def video_questions(rows: Iterable[Row], key: str, make: Callable[[list[Row]], Record]) -> TableRecords:
    """One record per video, in the order in which videos come, made when it is asked for.

    Args:
        rows: of the table. key: the column that names the video. make: from the rows of a video to its record;
            whatever is wrong is told with the name of the video.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(str(row[key]), []).append(row)

    def made(own: list[Row], number: int) -> Record:
        try:
            return make(own)
        except (ValueError, OSError) as error:
            raise RecordError(f"video {own[0][key]}", getattr(error, "field", "record"), str(error)) from error

    return TableRecords(list(groups.values()), made)


def find_video(folder: Path, places: tuple[str, ...], name: str, packed: str) -> str:
    """The absolute name of a video in one of some folders.

    Args:
        folder: of the set. places: below it. name: of the video. packed: what the set is downloaded with them in.

    Raises:
        ValueError: a name that leads out of its folder. FileNotFoundError: none is there.
    """
    for place in places:
        try:
            return inside(folder / place, name)
        except FileNotFoundError:
            continue
    searched = " or ".join(str(folder / place) for place in places)
    raise FileNotFoundError(f"no video {name} in {searched}; unpack {packed}")


__all__ = ["find_video", "video_questions"]
