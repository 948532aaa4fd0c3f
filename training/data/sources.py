"""The name of a data set to its records, whatever its kind: the kind is recognised by what is there.

Enters: a path or the name of a published set, and options of its reader. Leaves: checked records.
(Paper section 4; the formats are described in docs/data.md.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from desa2va.training.field_check import declared_fields

from .readers import read_finetune
from .records import Record, RecordError

SHOWN_PROBLEMS = 5
OWN = (read_finetune,)


@dataclass(frozen=True)
class Source:
    """A data set by its name.

    Attributes:
        name: as it was given. read: its reader, which takes `options`.
    """

    name: str
    read: Callable[..., Iterator[Record | RecordError]]
    options: dict[str, Any]

    def items(self) -> Iterator[Record | RecordError]:
        """Records, and what is wrong with those that are none, in the order of the source."""
        return self.read(**self.options)

    def records(self) -> Sequence[Record]:
        """All records.

        Raises:
            ValueError: some are wrong; the message names the first ones and says what would be right.
        """
        records, problems = [], []
        for item in self.items():
            (problems if isinstance(item, RecordError) else records).append(item)
        if problems:
            shown = "; ".join(map(str, problems[:SHOWN_PROBLEMS]))
            more = len(problems) - SHOWN_PROBLEMS
            rest = f"; and {more} more: `desa2va data check {self.name}` lists all" if more > 0 else ""
            raise ValueError(f"{self.name}: {len(problems)} of its records are wrong: {shown}{rest}")
        return records


def open_source(name: str, **options: Any) -> Source:
    """The data set of that name.

    Args:
        name: a path. options: of the reader of its kind.
    """
    return Source(name, reader_of(name), {"path": name, **options})


def reader_options(name: str | None) -> dict[str, Any]:
    """What the reader of a data set takes beside its name, with the types; readers of all kinds without a name."""
    readers = OWN if name is None else (reader_of(name),)
    return {
        key: hint for reader in readers for key, hint in declared_fields(reader).items() if key not in ("path", "root")
    }


def reader_of(name: str) -> Callable[..., Iterator[Record | RecordError]]:
    """The reader for the kind of a data set."""
    return read_finetune


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


__all__ = ["Source", "count_records", "open_source", "reader_of", "reader_options"]
