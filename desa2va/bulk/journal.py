"""What is done: a line per item as soon as it is, and every thousand of them a Parquet file.

What enters: rows of results. What leaves: `table/*.parquet`, which `datasets` reads, and the names of all items that
are done, whoever did them. A kill loses the item at hand and nothing else: a line that it cut is cut off, and rows
that were already moved into a file do not count twice.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from desa2va.processing.files import Claim, write_file

ITEMS_PER_FILE = 1000
BYTES_PER_FILE = 256 * 2**20
_CODE = pa.struct([("size", pa.list_(pa.int32())), ("counts", pa.string())])
_OBJECT = pa.struct(
    [
        ("object_id", pa.int32()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("phrase", pa.string()),
        ("seg_probability", pa.float64()),
        ("forced", pa.bool_()),
        ("codes", pa.list_(_CODE)),
        ("boxes", pa.list_(pa.list_(pa.int32()))),
        ("iou_scores", pa.list_(pa.float64())),
        ("object_scores", pa.list_(pa.float64())),
    ]
)
SCHEMA = pa.schema(
    [
        ("item", pa.string()),
        ("kind", pa.string()),
        ("request", pa.string()),
        ("text", pa.string()),
        ("raw_text", pa.string()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("num_frames", pa.int32()),
        ("fps", pa.float64()),
        ("target_score", pa.float64()),
        ("num_objects", pa.int32()),
        ("objects", pa.list_(_OBJECT)),
    ]
)
_FIELDS = [field.name for field in _OBJECT]


class Journal:
    """What one process writes, and what all have written.

    Args:
        folder: of the run; exists. rank: of the process.

    Attributes:
        done: names of the items that were done when it was opened, and of this process' since.

    Raises:
        ValueError: another process of the same number writes here.
    """

    def __init__(self, folder: Path, rank: int) -> None:
        self._table = folder / "table"
        self._table.mkdir(exist_ok=True)
        self._path = folder / f"journal-{rank:05d}.jsonl"
        self._rank, self._items, self._bytes = rank, 0, 0
        self._path.touch()
        try:
            self._claim = Claim(self._path)
        except BlockingIOError:
            raise ValueError(f"process {rank} of another run works in {folder}; wait for its end") from None
        known = _items_in_table(self._table)
        self._mend(known)
        self.done = known | _items_in_journals(folder)
        self._file = open(self._path, "ab")  # noqa: SIM115  (closed by `close`)

    def write(self, item: str, kind: str, results: list[Any]) -> None:
        """One item that is done: a row per request."""
        rows = [_row(item, kind, result) for result in results]
        line = json.dumps({"item": item, "rows": rows}).encode() + b"\n"
        self._file.write(line)
        self._file.flush()
        self.done.add(item)
        self._items, self._bytes = self._items + 1, self._bytes + len(line)
        if self._items >= ITEMS_PER_FILE or self._bytes >= BYTES_PER_FILE:
            self._move_into_table()

    def close(self) -> None:
        """Moves what is left into the table."""
        if not self._file.closed:
            self._move_into_table()
            self._file.close()
            self._path.unlink()
            self._claim.release()

    def _mend(self, known: set[str]) -> None:
        """Cuts off a line that a kill cut short, and lines whose items are `known`: in the table already."""
        lines = [line for line in _whole_lines(self._path) if json.loads(line)["item"] not in known]
        kept = b"".join(lines)
        if kept != self._path.read_bytes():
            with open(self._path, "r+b") as file:  # in place: the claim is on this very file
                file.write(kept)
                file.truncate()
        self._items, self._bytes = len(lines), len(kept)

    def _move_into_table(self) -> None:
        rows = [row for line in _whole_lines(self._path) for row in json.loads(line)["rows"]]
        if rows:
            number = sum(1 for _ in self._table.glob(f"part-{self._rank:05d}-*.parquet"))
            target = self._table / f"part-{self._rank:05d}-{number:05d}.parquet"
            write_file(target, lambda path: pq.write_table(pa.Table.from_pylist(rows, SCHEMA), path))
        os.truncate(self._path, 0)
        self._items = self._bytes = 0


def all_rows(folder: Path, columns: list[str]) -> Iterator[dict[str, Any]]:
    """These columns of all rows of a run, in the table or in anybody's journal."""
    known: set[str] = set()
    for path in sorted((folder / "table").glob("part-*.parquet")):
        rows = pq.read_table(path, columns=columns).to_pylist()
        known.update(row["item"] for row in rows)
        yield from rows
    for path in folder.glob("journal-*.jsonl"):
        for line in map(json.loads, _whole_lines(path)):
            if line["item"] not in known:
                yield from ({name: row[name] for name in columns} for row in line["rows"])


def _items_in_table(table: Path) -> set[str]:
    found: set[str] = set()
    for path in table.glob("part-*.parquet"):
        found.update(pq.read_table(path, columns=["item"])["item"].to_pylist())
    return found


def _items_in_journals(folder: Path) -> set[str]:
    lines = (line for path in folder.glob("journal-*.jsonl") for line in _whole_lines(path))
    return {json.loads(line)["item"] for line in lines}


def _whole_lines(path: Path) -> list[bytes]:
    """The lines of a journal that have their end; none where it has gone meanwhile."""
    try:
        return [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    except FileNotFoundError:
        return []


def _row(item: str, kind: str, result: Any) -> dict[str, Any]:
    plain = result.to_dict()
    objects = [{name: entry[name] for name in _FIELDS} for entry in plain["objects"]]
    row = {name: plain[name] for name in SCHEMA.names if name in plain and name != "objects"}
    return {**row, "item": item, "kind": kind, "num_objects": result.count, "objects": objects}


__all__ = ["SCHEMA", "Journal", "all_rows"]
