"""Tables of `datasets`, on disk or on the Hub, whole or streamed, as records.

Enters: a folder (saved by `datasets`, of Parquet or Arrow files, or written by `desa2va data prepare`) or
`hub:owner/name`. Leaves: a sequence of records, or a stream of them. Pictures and videos stay undecoded bytes until a
sample needs their frames, so that neither PIL nor torchcodec decodes a cell for nothing. (Engineering.)
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import datasets
from datasets.distributed import split_dataset_by_node

from desa2va.training.data.record_rows import SCHEMA, row_to_record
from desa2va.training.data.records import Record, RecordError

from .columns import RowReader, choose_columns

HUB = "hub:"
_MARKS = ("dataset_info.json", "dataset_dict.json", "state.json", "manifest.json")
_PARTS = 64  # of a saved data set that is streamed: readers that share them evenly read nothing in vain
_FORMATS = {".parquet": "parquet", ".arrow": "arrow"}
# Newer versions of `datasets` mix ten files at a time and sleep five seconds after every pass over Parquet; older ones
# read file after file, and so do we with any version: the order of a run does not depend on it.
_MIXES_FILES = "max_buffer_input_shards" in inspect.signature(datasets.IterableDataset.shuffle).parameters
_FILE_AFTER_FILE = {"max_buffer_input_shards": 1} if _MIXES_FILES else {}


class TableRecords(Sequence[Record]):
    """The rows of a table, or what else comes one after the other, as records, made when they are asked for."""

    def __init__(self, table: Sequence[Any], make: Callable[[Any, int], Record]) -> None:
        self.table, self.make = table, make

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> Record:
        """The record of a row; raises `RecordError` where it is wrong."""
        return self.make(self.table[index], index)

    def items(self) -> Iterator[Record | RecordError]:
        """All records, a wrong one as its error."""
        return _items(self.table, self.make)


class _StoredRows(Sequence[dict[str, Any]]):
    """Rows of a table as they are stored, pictures as bytes: a cast to features that decode nothing would write every
    picture to disk a second time.
    """

    def __init__(self, table: datasets.Dataset) -> None:
        self.table = table.with_format("arrow")

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index >= len(self):
            raise IndexError(index)
        return self.table[index].to_pylist()[0]


class PreparedRecords(TableRecords):
    """Records that `desa2va data prepare` wrote.

    Args:
        table: of `SCHEMA`. name: of the data set, for errors.
    """

    def __init__(self, table: datasets.Dataset, name: str) -> None:
        super().__init__(_StoredRows(table), partial(_prepared, name=name))
        self.outlines = TableRecords(_StoredRows(table.remove_columns("media")), self.make)

    def outline(self, index: int) -> Record:
        """The record without the contents of its files, which lie on disk and stay there."""
        return self.outlines[index]


class RecordStream:
    """Records of a table that is read from front to back, e.g. over the network; its length is not known."""

    def __init__(self, table: datasets.IterableDataset, make: Callable[[dict[str, Any], int], Record]) -> None:
        self.table, self.make = table, make

    def items(self) -> Iterator[Record | RecordError]:
        """All records, a wrong one as its error."""
        return _items(self.table, self.make)

    def shuffled(
        self, seed: int, epoch: int, buffer: int, reader: int = 0, readers: int = 1
    ) -> Iterator[Callable[[], Record]]:
        """What one of several readers has of all records, mixed among neighbours.

        Readers share files where all have as many, else rows: then each reads all files and leaves out what is not
        its own.

        Returns:
            Functions that make the records; they raise the `RecordError` of a wrong one.
        """
        own = split_dataset_by_node(self.table, reader, readers)
        table = own.shuffle(seed=seed, buffer_size=buffer, **_FILE_AFTER_FILE)
        table.set_epoch(epoch)
        # `iter` and not `__iter__`, which would deal to a loader's workers what has been dealt.
        for number, row in enumerate(table.iter(1)):
            yield partial(self.make, {name: cells[0] for name, cells in row.items()}, number)


def _items(
    rows: Iterable[dict[str, Any]], make: Callable[[dict[str, Any], int], Record]
) -> Iterator[Record | RecordError]:
    for number, row in enumerate(rows):
        try:
            yield make(row, number)
        except RecordError as error:
            yield error


def is_table(path: Path) -> bool:
    """Whether a folder holds a data set of `datasets`, or Parquet or Arrow files."""
    return any((path / mark).is_file() for mark in _MARKS) or bool(_data_files(path)[1])


def read_table(
    path: str | os.PathLike,
    split: str | None = None,
    streamed: bool = False,
    columns: dict[str, str] | None = None,
    image_root: str | os.PathLike | None = None,
    config: str | None = None,
    revision: str | None = None,
) -> TableRecords | RecordStream:
    """The records of a table.

    Args:
        path: a folder, a Parquet file, or `hub:owner/name`. split: by default `train`, or the only one.
        streamed: read from front to back, without a copy on disk. columns: role (image, video, text, mask, object) to
            column, where their names do not tell. image_root: where names of files in cells start from.
        config, revision: of a data set on the Hub.

    Raises:
        FileNotFoundError: no such data set. ValueError: no such split or column.
    """
    name = os.fspath(path)
    table = _open(name, split, streamed, config, revision)
    features = table.features or table._resolve_features().features  # a stream knows them after its first row
    if set(SCHEMA.names) <= set(features):
        streams = isinstance(table, datasets.IterableDataset)
        return RecordStream(table, partial(_prepared, name=name)) if streams else PreparedRecords(table, name)
    chosen = choose_columns(list(_leaves(features)), columns or {}, name)
    if isinstance(table, datasets.IterableDataset):
        table = table.cast(datasets.Features({key: _undecoded(feature) for key, feature in features.items()}))
    licence = getattr(table.info, "license", None) or None
    return _sequence(
        table, RowReader(name, chosen, None if image_root is None else os.fspath(image_root), licence).record
    )


def _sequence(table: Any, make: Callable[[dict[str, Any], int], Record]) -> TableRecords | RecordStream:
    if isinstance(table, datasets.IterableDataset):
        return RecordStream(table, make)
    return TableRecords(_StoredRows(table), make)


def _prepared(row: dict[str, Any], number: int, name: str) -> Record:
    """A row that `desa2va data prepare` wrote; names of linked files start from the folder."""
    try:
        return row_to_record(row)
    except (ValueError, KeyError, TypeError) as error:
        raise RecordError(f"row {number} of {name}", "record", str(error)) from error


def _open(name: str, split: str | None, streamed: bool, config: str | None, revision: str | None) -> Any:
    if name.startswith(HUB):
        found = datasets.load_dataset(name.removeprefix(HUB), config, revision=revision, streaming=streamed)
        return _split(found, split, name)
    path = Path(name)
    if path.is_dir() and any((path / mark).is_file() for mark in ("state.json", "dataset_dict.json")):
        found = datasets.load_from_disk(name)
        table = _split(found, split, name)
        return table.to_iterable_dataset(max(1, min(len(table), _PARTS))) if streamed else table
    kind, files = _data_files(path)
    if not files:
        raise FileNotFoundError(f"{name} holds no Parquet or Arrow files and no saved data set")
    found = datasets.load_dataset(kind, data_files=files, streaming=streamed)
    return _split(found, split, name)


def _data_files(path: Path) -> tuple[str, dict[str, list[str]]]:
    """Format and, by split, the files of a folder (`train-00000-of-00004.parquet`, `data/...`), or the file itself."""
    for suffix, kind in _FORMATS.items():
        files = [path] if path.suffix == suffix else sorted([*path.glob(f"*{suffix}"), *path.glob(f"data/*{suffix}")])
        splits: dict[str, list[str]] = {}
        for file in files if path.exists() else ():
            splits.setdefault(file.stem.split("-")[0] if "-of-" in file.stem else "train", []).append(str(file))
        if splits:
            return kind, splits
    return "", {}


def _split(found: Any, split: str | None, name: str) -> Any:
    if not isinstance(found, dict):
        return found
    wanted = split or ("train" if "train" in found or len(found) > 1 else next(iter(found)))
    if wanted not in found:
        raise ValueError(f"{name}: no split {wanted!r}; it has {', '.join(found)}")
    return found[wanted]


def _leaves(features: Any, prefix: str = "") -> Iterator[str]:
    """Columns by name, those inside lists and structures with dots, and what has a meaning of its own whole."""
    for name, feature in features.items():
        yield f"{prefix}{name}"
        inner = _element(feature)
        if isinstance(inner, dict) and not {"counts", "size"} <= set(inner):
            yield from _leaves(inner, f"{prefix}{name}.")


def _element(feature: Any) -> Any:
    """What a (nested) list holds, or the feature itself."""
    while isinstance(feature, list) or hasattr(feature, "feature"):
        feature = feature[0] if isinstance(feature, list) else feature.feature
    return feature


def _undecoded(feature: Any) -> Any:
    """The same feature, but pictures and videos as their bytes."""
    if isinstance(feature, datasets.Image):
        return datasets.Image(mode=feature.mode, decode=False)
    if isinstance(feature, datasets.Video):
        return datasets.Video(decode=False)
    if isinstance(feature, dict):
        return {name: _undecoded(inner) for name, inner in feature.items()}
    if isinstance(feature, list):
        return [_undecoded(feature[0])]
    if hasattr(feature, "feature"):
        return type(feature)(_undecoded(feature.feature), length=feature.length)
    return feature


__all__ = ["HUB", "RecordStream", "TableRecords", "is_table", "read_table"]
