"""Which files of a published data set are there, told without reading them.

Enters: what a set needs below the data root. Leaves: what of it was found, what is missing, where to get it.
(Engineering; no paper section.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from desa2va.training.data.records import Record, RecordError


@dataclass(frozen=True)
class Status:
    """What of a set is there.

    Attributes:
        found, missing: files and folders, relative to the data root. where: the public page of the set, where what is
            missing can be had. licence: of the set, as its page states it. note: anything else to know, e.g. counts.
    """

    found: tuple[str, ...]
    missing: tuple[str, ...]
    where: str
    licence: str | None = None
    note: str = ""

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing


@dataclass(frozen=True)
class Reader:
    """A published set.

    Attributes:
        read: `(root, split, **options)` to records, lazily, in a fixed order; a wrong record is yielded or raised as
            a `RecordError`. present: `(root)` to a `Status`. splits: those it has, the training split first. `root` is
            the data folder that holds the sets of all readers.
    """

    read: Callable[..., Iterator[Record | RecordError]]
    present: Callable[[Path], Status]
    splits: tuple[str, ...]


def look(root: Path, names: Sequence[str], where: str, **more: Any) -> Status:
    """A `Status` of files and folders named relative to the root; of `"a|b"` either will do, an empty folder never."""
    found, missing = [], []
    for name in names:
        there = next((choice for choice in name.split("|") if _is_there(root / choice)), None)
        (missing if there is None else found).append(there or name.replace("|", " or "))
    return Status(tuple(found), tuple(missing), where, **more)


def _is_there(path: Path) -> bool:
    return any(path.iterdir()) if path.is_dir() else path.is_file()


__all__ = ["Reader", "Status", "look"]
