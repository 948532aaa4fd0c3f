"""Questions about pictures in their authors' own Parquet files on the Hub: MMMU, MMStar and ScienceQA.

Enters: a copy of the data set's repository: `MMMU/<subject>/<split>-*.parquet`, `MMStar/mmstar.parquet`,
`ScienceQA/data/<split>-*.parquet`, or those of its copies that are read most (lmms-lab's). Leaves: rows of the columns
that VLMEvalKit's tables have (`question_tables`), numbered in the order of the files. (Paper section 4.1: image chat.)
"""

from __future__ import annotations

import ast
import base64
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import pyarrow
import pyarrow.parquet

from .json_entries import FieldError
from .rows import need

Row = dict[str, str]
# name of the set: its folder; by split the files, of which the first pattern that finds any is read
HOMES = {"mmmu": "MMMU", "mmstar": "MMStar", "scienceqa": "ScienceQA"}
PATTERNS = {
    "mmmu": {split: (f"[A-Z]*/{split}-*.parquet", f"data/{split}-*.parquet") for split in ("validation", "dev")},
    "mmstar": {"val": ("mmstar.parquet", "data/val-*.parquet")},
    "scienceqa": {
        split: (f"data/{name}-*.parquet", f"ScienceQA-IMG/{name}-*.parquet", f"ScienceQA-FULL/{name}-*.parquet")
        for split, name in (("val", "validation"), ("test", "test"))
    },
}
_PICTURES = tuple(f"image_{number}" for number in range(1, 8))
COLUMNS = {
    "mmmu": ("id", "question", "options", "answer", "question_type", *_PICTURES),
    "mmstar": ("index", "question", "image", "answer", "category", "l2_category"),
    "scienceqa": ("image", "question", "choices", "answer", "hint", "subject", "topic"),
}
DISCIPLINES = {
    "Art and Design": "Art Art_Theory Design Music",
    "Business": "Accounting Economics Finance Manage Marketing",
    "Science": "Biology Chemistry Geography Math Physics",
    "Health and Medicine": "Basic_Medical_Science Clinical_Medicine Diagnostics_and_Laboratory_Medicine Pharmacy "
    "Public_Health",
    "Humanities and Social Science": "History Literature Psychology Sociology",
    "Tech and Engineering": "Agriculture Architecture_and_Engineering Computer_Science Electronics Energy_and_Power "
    "Materials Mechanical_Engineering",
}
_DISCIPLINE_OF = {subject: name for name, subjects in DISCIPLINES.items() for subject in subjects.split()}
# MMStar's questions hold their options: "Options: A: red, B: blue", or "Choices:\n(A) 97\n(B) 102"
_LISTED = re.compile(r"\s*\b(?:Options|Choices):\s*(?=A:|\(A\))")
_LETTER = r"(?:^|[,\s]\s*)(?:{0}:|\({0}\))\s*"


class ParquetQuestions(Sequence[Row]):
    """The rows of a set's Parquet files, a group of rows in memory at a time.

    Args:
        root: the data folder. dataset: a name in `HOMES`. split: one of `PATTERNS`.

    Raises:
        FileNotFoundError: there is no such file. ValueError: one that is no Parquet, or lacks a column.
    """

    def __init__(self, root: Path, dataset: str, split: str) -> None:
        self.path, files = Path(root) / HOMES[dataset], parquet_files(root, dataset, split)
        if not files:
            raise FileNotFoundError(f"there is no file {' or '.join(PATTERNS[dataset][split])} in {self.path}")
        self._columns, self._row = COLUMNS[dataset], _ROWS[dataset]
        self._files = [_opened(file, self._columns) for file in files]
        self._groups: list[tuple[int, int, int]] = []  # file, group of rows, number of its first row
        self._length = 0
        for place, file in enumerate(self._files):
            for group in range(file.num_row_groups):
                self._groups.append((place, group, self._length))
                self._length += file.metadata.row_group(group).num_rows
        self._held: tuple[int, list[dict[str, Any]]] = (-1, [])

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, number: int) -> Row:
        """A row; raises `ValueError` with its number where it is wrong."""
        if not 0 <= number < self._length:
            raise IndexError(number)
        place = max(place for place, (_, _, first) in enumerate(self._groups) if first <= number)
        file, group, first = self._groups[place]
        if self._held[0] != place:
            self._held = place, self._files[file].read_row_group(group, list(self._columns)).to_pylist()
        try:
            return self._row(self._held[1][number - first], number)
        except FieldError as error:
            raise ValueError(f"{self.path}, row {number}, {error.field}: {error}") from error

    def __iter__(self) -> Iterator[Row]:
        return (self[number] for number in range(self._length))


def parquet_files(root: Path, dataset: str, split: str) -> list[Path]:
    """The files of a split that are there, in the order of their names."""
    folder = Path(root) / HOMES[dataset]
    found = (sorted(folder.glob(pattern)) for pattern in PATTERNS[dataset][split])
    return next((files for files in found if files), [])


def _opened(path: Path, columns: Sequence[str]) -> pyarrow.parquet.ParquetFile:
    try:
        file = pyarrow.parquet.ParquetFile(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise ValueError(f"{path} is no Parquet file ({error})") from error
    missing = [name for name in columns if name not in file.schema_arrow.names]
    if missing:
        raise ValueError(f"{path} lacks the columns {', '.join(missing)}; it has {', '.join(file.schema_arrow.names)}")
    return file


def _mmmu_row(row: dict[str, Any], number: int) -> Row:
    """`id` is `<split>_<subject>_<number>`; options are a list in Python's writing, none of open questions."""
    split, _, rest = need(row, "id", str).partition("_")
    subject = rest.rpartition("_")[0]
    options = _literal(need(row, "options", str)) if row["question_type"] != "open" else []
    pictures = [_picture(row[name], name) for name in _PICTURES if row[name] is not None]
    groups = {"split": split, "category": subject, "l2-category": _DISCIPLINE_OF.get(subject, "")}
    asked = {"question": need(row, "question", str), "answer": need(row, "answer", str)}
    cell = pictures[0] if len(pictures) == 1 else str(pictures) if pictures else ""
    return {"index": str(number), "image": cell, **asked, **_by_letter(options), **groups}


def _mmstar_row(row: dict[str, Any], number: int) -> Row:
    question, options = listed_options(need(row, "question", str))
    groups = {"category": need(row, "category", str), "l2-category": need(row, "l2_category", str)}
    picture, index = _picture(row["image"], "image"), str(need(row, "index", int))
    asked = {"question": question, "answer": need(row, "answer", str)}
    return {"index": index, "image": picture, **asked, **options, **groups}


def _scienceqa_row(row: dict[str, Any], number: int) -> Row:
    """`answer` counts from 0. Questions without a picture have an empty cell, as in VLMEvalKit's table."""
    choices, answer = _by_letter(need(row, "choices", list)), need(row, "answer", int)
    if not 0 <= answer < len(choices):
        raise FieldError("answer", f"{answer} is none of {len(choices)} choices")
    picture = "" if row["image"] is None else _picture(row["image"], "image")
    asked = {"question": need(row, "question", str), "hint": row["hint"] or "", "answer": ascii_uppercase[answer]}
    groups = {"category": row["topic"] or "", "l2-category": row["subject"] or ""}
    return {"index": str(number), "image": picture, **asked, **choices, **groups}


_ROWS: dict[str, Callable[[dict[str, Any], int], Row]] = {
    "mmmu": _mmmu_row,
    "mmstar": _mmstar_row,
    "scienceqa": _scienceqa_row,
}


def listed_options(question: str) -> tuple[str, Row]:
    """A question of MMStar without the options that it holds, and the options by letter.

    Where it lists none in either form, it stays whole and its options are known by their letters alone.
    """
    found = list(_LISTED.finditer(question))
    listed = question[found[-1].end() :] if found else ""
    places = []
    for letter in ascii_uppercase:
        mark = re.compile(_LETTER.format(letter)).search(listed, places[-1].end() if places else 0)
        if mark is None:
            break
        places.append(mark)
    if len(places) < 2:
        return question, {letter: letter for letter in "ABCD"}
    ends = [mark.start() for mark in places[1:]] + [len(listed)]
    texts = [listed[mark.end() : end].strip(" ,\n") for mark, end in zip(places, ends, strict=True)]
    return question[: found[-1].start()], _by_letter(texts)


def _by_letter(options: Sequence[Any]) -> Row:
    return dict(zip(ascii_uppercase, map(str, options), strict=False))


def _literal(text: str) -> list[Any]:
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise FieldError("options", f"{text!r:.60} is no list of options") from error
    if not isinstance(found, list):
        raise FieldError("options", f"{text!r:.60} is no list of options")
    return found


def _picture(cell: Any, name: str) -> str:
    """Base64 of a picture's file: a cell of `datasets`, or the bytes themselves."""
    content = cell.get("bytes") if isinstance(cell, dict) else cell
    if not isinstance(content, bytes):
        raise FieldError(name, "must hold the bytes of a picture")
    return base64.b64encode(content).decode()


__all__ = ["DISCIPLINES", "HOMES", "PATTERNS", "ParquetQuestions", "listed_options", "parquet_files"]
