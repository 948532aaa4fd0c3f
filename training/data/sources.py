"""The name of a data set to its records, whatever its kind: the kind is recognised by what is there.

Enters: a path or the name of a published set, and options of its reader. Leaves: checked records.
(Paper section 4; the formats are described in docs/data.md.)
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union

from desa2va.training.field_check import declared_fields

from .readers import KINDS, READERS, RecordStream, TableRecords, check_split, own_reader
from .record_index import hold_or_index, known_records
from .records import Record, RecordError

logger = logging.getLogger(__name__)
SHOWN_PROBLEMS = 5
TOLERATED = 0.01  # share of wrong rows that a published set may have: nobody can mend it, and most have a few
DATA_ROOT = "data"  # Sa2VA's folder of all published sets


@dataclass(frozen=True)
class Source:
    """A data set by its name.

    Attributes:
        name: as it was given. read: its reader, which takes `options`. files: its annotation files, and the folders
            of its pictures. published: whether it is a published set, of which wrong rows are left out.
    """

    name: str
    read: Callable[..., Any]
    options: dict[str, Any]
    files: tuple[str, ...] = ()
    published: bool = False

    def items(self) -> Iterator[Record | RecordError]:
        """Records, and what is wrong with those that are none, in the order of the source."""
        found = self.read(**self.options)
        return found.items() if isinstance(found, TableRecords | RecordStream) else iter(found)

    def records(self) -> Sequence[Record] | RecordStream:
        """All records. Rows of a table are read when they are asked for, those of other sources now.

        Wrong rows of a published set are left out, and the log counts them and names the first ones.

        Raises:
            ValueError: there are none, or some are wrong, of a published set more than one in a hundred; the message
                names the first ones and says what would be right.
        """
        known = known_records(self.key())
        if known is not None:
            return known
        found = self.read(**self.options)
        if isinstance(found, TableRecords | RecordStream):
            return found
        return hold_or_index(self._right(found), self.key())

    def _right(self, items: Iterator[Record | RecordError]) -> Iterator[Record]:
        """The records. Of own data only as long as none is wrong: then the rest is only looked through."""
        problems: dict[str, RecordError] = {}
        right = 0
        for item in items:
            if isinstance(item, RecordError):
                problems.setdefault(item.record, item)
            else:
                right += 1
                if self.published or not problems:
                    yield item
        if not problems and not right:
            raise ValueError(f"{self.name} holds no record")
        if not problems:
            return
        told = self._told(list(problems.values()), right)
        if not self.published or len(problems) > TOLERATED * (right + len(problems)):
            raise ValueError(told)
        logger.warning("%s. They are left out", told)

    def _told(self, problems: list[RecordError], right: int) -> str:
        shown = "; ".join(map(str, problems[:SHOWN_PROBLEMS]))
        more = len(problems) - SHOWN_PROBLEMS
        name, *split = self.name.split("/") if self.published else [self.name]
        command = " --option split=".join([f"desa2va data check {name}", *split])
        rest = f"; and {more} more: `{command}` lists all" if more > 0 else ""
        number = f"{len(problems)} of its {right + len(problems)}" if self.published else f"{len(problems)} of its"
        limit = f" (at most {TOLERATED:.0%} may be)" if self.published else ""
        return f"{self.name}: {number} records are wrong{limit}: {shown}{rest}"

    def key(self) -> str:
        """What changes when an annotation file does (its name, size or time) or an option of the reader.

        Pictures that were exchanged behind it are not seen.
        """
        # Scores leave nothing out: they must not find an index that a training left rows out of.
        state = [self.name, self.published, {key: str(value) for key, value in sorted(self.options.items())}]
        for path in map(Path, self.files):
            if path.exists():
                told = path.stat()
                state.append([os.path.abspath(path), told.st_size, told.st_mtime_ns])
        return hashlib.sha256(json.dumps(state).encode()).hexdigest()[:32]


def open_source(name: str, **options: Any) -> Source:
    """The data set of that name.

    Args:
        name: of a published set (`READERS`), a path, or `hub:owner/name`.
        options: of its reader; a published set also takes `root` (default: `data`) and `split` (default: training).

    Raises:
        FileNotFoundError, ValueError: see `own_reader`; also a split that a published set does not have.
    """
    if name not in READERS:
        reader = own_reader(name)
        return Source(name, reader, {"path": name, **options}, _own_files(Path(name)))
    reader = READERS[name]
    split = options.pop("split", reader.splits[0])
    check_split(name, split, reader.splits)
    root = Path(options.pop("root", DATA_ROOT))
    files = tuple(str(root / file) for file in reader.present(root).found)
    return Source(f"{name}/{split}", reader.read, {"root": root, "split": split, **options}, files, published=True)


def _own_files(path: Path) -> tuple[str, ...]:
    """The annotation files of a path: itself, what lies in it, the masks, and the folders of pictures."""
    folder = path if path.is_dir() else path.parent
    own = sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
    masks = sorted((folder / "masks").rglob("*")) if path.suffix != ".json" else []
    beside = [folder / "expressions.json", folder / "images", folder / "videos"] if path.exists() else []
    return tuple(map(str, (*own, *masks, *beside)))


def reader_options(name: str | None) -> dict[str, Any]:
    """What the reader of a data set takes beside its name, with the types; readers of all kinds without a name."""
    if name is None:
        fields = [reader_options(published) for published in READERS] + [_own_options(*KINDS.values())]
        united: dict[str, Any] = {}
        for key, hint in (item for found in fields for item in found.items()):
            united[key] = Union[united[key], hint] if key in united else hint  # noqa: UP007 (hints, not types, are united)
        return united
    if name in READERS:
        return {**declared_fields(READERS[name].read), "root": str, "split": str}
    # What is not there yet is told when it is opened, with its kinds.
    return _own_options(*([own_reader(name)] if Path(name).exists() or ":" in name else KINDS.values()))


def _own_options(*readers: Callable[..., Any]) -> dict[str, Any]:
    return {key: hint for reader in readers for key, hint in declared_fields(reader).items() if key != "path"}


def count_records(records: Iterable[Record]) -> Counter[str]:
    """Numbers of pictures, videos, frames, expressions, expressions without target, chat turns, and dialogues of any
    other kind by its name.
    """
    counts = Counter(dict.fromkeys(("pictures", "videos", "frames", "expressions", "without target", "chat turns"), 0))
    for record in records:
        counts["videos" if record.is_video else "pictures"] += bool(record.paths)
        counts["frames"] += record.num_frames
        for dialogue in record.dialogues:
            name = {"target": "expressions", "no_target": "expressions", "chat": "chat turns"}.get(dialogue.kind)
            counts[name or dialogue.kind] += len(dialogue.turns) if name == "chat turns" else 1
            counts["without target"] += dialogue.kind == "no_target"
    return counts


__all__ = ["Source", "count_records", "open_source", "reader_options"]
