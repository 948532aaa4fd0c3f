"""What there is to do: the pictures and videos of a folder, a list or a data set, each with a name of its own.

What enters: a path or the name of a data set. What leaves: a sequence of items in an order that every process and
every later run agrees on. Nothing is decoded here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from desa2va.commands.common import VIDEO_SUFFIXES
from desa2va.processing.inputs import IMAGE_EXTENSIONS


@dataclass(frozen=True)
class Item:
    """One picture or video.

    Attributes:
        name: its own within the run; also the name of its folder. source: what the processor takes.
        row: the other columns of its row in a data set, which requests may name; `None` of a file.
    """

    name: str
    source: Any
    row: dict[str, Any] | None = None

    def requests(self, texts: list[str]) -> list[str]:
        """The requests about it: `{column}` stands for what its row says there.

        Raises:
            ValueError: there is no such column, or no text in it.
        """
        if self.row is None:
            return texts
        try:
            return [text.format_map(self.row) for text in texts]
        except (KeyError, IndexError, ValueError, AttributeError) as error:
            names = ", ".join(self.row) or "none"
            raise ValueError(f"{error}: a request names columns as {{name}}; there are: {names}") from error


class Items(Sequence[Item]):
    """Items that are made when they are asked for.

    Args:
        count: how many. make: the item of a number. identity: of the whole list, to tell one run from another.
    """

    def __init__(self, count: int, make: Callable[[int], Item], identity: str) -> None:
        self._count, self._make, self.identity = count, make, identity

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> Item:
        """The item of a number."""
        return self._make(number)


def folder_items(folder: Path) -> Items:
    """The pictures and videos below a folder, sorted by their paths; hidden files and folders do not count.

    Raises:
        ValueError: there are none.
    """
    known = {*IMAGE_EXTENSIONS, *VIDEO_SUFFIXES}
    paths = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.suffix.lower() in known)
    paths = [path for path in paths if not any(part.startswith(".") for part in path.parts)]
    paths = [path for path in paths if (folder / path).is_file()]
    if not paths:
        raise ValueError(f"{folder}: no pictures and no videos in this folder or those in it")
    names = [path.as_posix() for path in paths]
    return Items(len(paths), lambda number: Item(names[number], str(folder / paths[number])), _digest(names))


def list_items(file: Path) -> Items:
    """The paths and addresses in a text file, one per line; paths count from the folder of the file.

    Raises:
        ValueError: there are none, or the file is no text.
    """
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: a list is a text file in UTF-8 with a path or address per line") from error
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines:
        raise ValueError(f"{file}: the list is empty; it has a path or address per line")

    def make(number: int) -> Item:
        line = lines[number]
        source = line if "://" in line else str(file.parent / Path(line).expanduser())
        return Item(f"{number:06d}_{Path(line.split('?')[0]).stem[:80]}", source)

    return Items(len(lines), make, _digest(lines))


def table_items(source: str, column: str, split: str) -> Items:
    """The rows of a data set: saved by `datasets`, a folder of Parquet files, or on the Hub.

    Args:
        source: a folder or a name. column: with the pictures or videos. split: of a data set with several.

    Raises:
        ValueError: there is no such column.
    """
    table = _open_table(source, split)
    if column not in table.column_names:
        raise ValueError(f"{source}: there is no column {column!r}; there are: {', '.join(table.column_names)}")
    stored = table.with_format("arrow")  # cells as they are stored: nothing is decoded twice, or for nothing
    others = [name for name in table.column_names if name != column]

    def make(number: int) -> Item:
        row = stored[number]
        return Item(f"{number:08d}", row[column][0].as_py(), {name: row[name][0].as_py() for name in others})

    return Items(len(table), make, _digest([source, column, split, str(len(table)), str(table.features)]))


def _open_table(source: str, split: str) -> Any:
    import datasets

    folder = Path(source).expanduser()
    if not folder.is_dir():
        return datasets.load_dataset(source, split=split)
    if (folder / "dataset_dict.json").is_file():
        return datasets.load_from_disk(folder)[split]
    if (folder / "state.json").is_file():
        return datasets.load_from_disk(folder)
    files = sorted(str(path) for path in folder.rglob("*.parquet"))
    if not files:
        raise ValueError(f"{source}: neither a data set that `datasets` saved nor Parquet files are in this folder")
    return datasets.load_dataset("parquet", data_files=files, split="train")


def _digest(names: list[str]) -> str:
    return hashlib.sha256("\n".join(names).encode("utf-8", "surrogateescape")).hexdigest()[:16]


__all__ = ["Item", "Items", "folder_items", "list_items", "table_items"]
