"""Many records on disk: written once, mapped into memory, read one by one.

Enters: records as a reader yields them, and a key that changes with the files they come from. Leaves: a list of a
few, or an Arrow file of many in the cache of `datasets`, so that a million records do not sit in memory and a restart
does not read them again. (Engineering; no paper section.)
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from desa2va.processing.files import write_file

from .record_rows import SCHEMA, record_to_row, row_to_record
from .records import Record

HELD = 10_000  # records that stay in memory
_BATCH = 500
VERSION = 1  # of the rows and of what readers make of a file; another one reads all anew


class IndexedRecords(Sequence[Record]):
    """Records of an Arrow file."""

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = os.fspath(path)
        self.table = datasets.Dataset.from_file(self.path)

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> Record:
        """The record at an index."""
        return row_to_record(self.table[index])

    def with_long_texts(self, size: int) -> Iterator[Record]:
        """Records with a dialogue of more than `size` bytes; the others are passed over without being made."""
        start = 0
        for rows in self.table.data.column("dialogues").chunks:
            turns = pc.struct_field(pc.list_flatten(rows), "turns")
            sizes = pc.binary_length(pc.list_flatten(turns)).to_numpy(zero_copy_only=False)
            # A blank behind every part, as they are joined; the last one makes no text too short.
            said = np.bincount(pc.list_parent_indices(turns), sizes + 1, len(turns))
            for row in np.unique(np.asarray(pc.list_parent_indices(rows))[said > size]).tolist():
                yield self[start + row]
            start += len(rows)

    def __reduce__(self) -> tuple:
        """Workers of a loader map the file themselves."""
        return IndexedRecords, (self.path,)


def known_records(key: str) -> IndexedRecords | None:
    """What an earlier run wrote under this key."""
    path = _file(key)
    return IndexedRecords(path) if path.is_file() else None


def hold_or_index(records: Iterable[Record], key: str) -> Sequence[Record]:
    """A list of a few records, the index of many.

    Args:
        records: read once. key: of the files they come from, see `Source.key`.

    Raises:
        whatever reading raises; no index is left then.
    """
    stream = iter(records)
    held = list(islice(stream, HELD + 1))
    if len(held) <= HELD:
        return held
    path = _file(key)
    path.parent.mkdir(parents=True, exist_ok=True)

    def write(unfinished: Path) -> None:
        with pa.OSFile(str(unfinished), "wb") as file, pa.ipc.new_stream(file, SCHEMA) as writer:
            for rows in _batches(record_to_row(record) for record in chain(held, stream)):
                writer.write_batch(pa.RecordBatch.from_pylist(rows, SCHEMA))

    write_file(path, write, overwrite=True)
    return IndexedRecords(path)


def _batches(rows: Iterable[dict]) -> Iterator[list[dict]]:
    rows = iter(rows)
    while batch := list(islice(rows, _BATCH)):
        yield batch


def _file(key: str) -> Path:
    return Path(datasets.config.HF_DATASETS_CACHE) / "desa2va" / f"{key}-{VERSION}.arrow"


__all__ = ["HELD", "IndexedRecords", "hold_or_index", "known_records"]
