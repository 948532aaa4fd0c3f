"""Tab-separated tables with pictures in their cells: megabytes a row, so a row is read when it is asked for.

Enters: a file as pandas writes it: a first line of names, cells in quotes where they hold a tab, a quote or a line
break. Leaves: its rows as texts by column. (Engineering; no paper section.)
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

_LONGEST = 2**31 - 1  # characters of a cell; the module's own limit is 131,072, less than many a picture


class TsvRows(Sequence[dict[str, str]]):
    """The rows of a file; only their places are held.

    Names of columns are taken in lower case, but those of options (`A`, `B`, ...). An empty cell is an empty text, and
    nothing else is: pandas reads `None` and `N/A` as no value, and an option of that text would be lost.

    Args:
        path: of the file. needed: columns that it has to have.

    Raises:
        FileNotFoundError: no such file. ValueError: no such column, no rows, or no UTF-8.
    """

    def __init__(self, path: Path, needed: Sequence[str]) -> None:
        if not path.is_file():
            raise FileNotFoundError(f"there is no file {path}")
        self.path = path
        with path.open("rb") as file:
            places = list(_places(file, path))
        if len(places) < 2:
            raise ValueError(f"{path} must hold a line of names and rows below it, tab-separated")
        self._places = places[1:]
        names = [name.strip().lstrip("\ufeff") for name in self._cells(*places[0], "its first line")]
        self.columns = [name if len(name) == 1 else name.lower() for name in names]
        missing = [name for name in needed if name not in self.columns]
        if missing:
            raise ValueError(f"{path} lacks the columns {', '.join(missing)}; it has {', '.join(self.columns):.200}")

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, number: int) -> dict[str, str]:
        """A row; raises `ValueError` where it has another number of cells than there are columns."""
        cells = self._cells(*self._places[number], f"row {number}")
        if len(cells) != len(self.columns):
            raise ValueError(
                f"{self.path}, row {number}: {len(cells)} cells for {len(self.columns)} columns; the file is cut off "
                "or not tab-separated"
            )
        return dict(zip(self.columns, cells, strict=True))

    def _cells(self, start: int, length: int, where: str) -> list[str]:
        with self.path.open("rb") as file:
            file.seek(start)
            line = file.read(length)
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{self.path}, {where}: not UTF-8 text ({error})") from error
        limit = csv.field_size_limit(_LONGEST)
        try:
            return next(csv.reader(io.StringIO(text, newline=""), delimiter="\t"), [])
        finally:
            csv.field_size_limit(limit)


def _places(lines: Iterable[bytes], path: Path) -> Iterator[tuple[int, int]]:
    """Start and length in bytes of every row; a line break between quotes does not end one. Empty lines are none."""
    start = length = 0
    inside = False
    for line in lines:
        length += len(line)
        for cell in line.split(b"\t"):
            if inside or cell.startswith(b'"'):
                inside ^= cell.count(b'"') % 2 == 1
        if not inside:
            if length > len(line) or line.strip():
                yield start, length
            start, length = start + length, 0
    if inside:
        raise ValueError(f"{path}, byte {start}: a quote is opened and not closed; the file is cut off")


__all__ = ["TsvRows"]
