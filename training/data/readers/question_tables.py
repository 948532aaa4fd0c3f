"""Questions about pictures in VLMEvalKit's tables: MMBench, SEED-Bench, AI2D, MMStar, ScienceQA, MMMU and MME.

Enters: `NAME.tsv` with `index`, `image`, `question`, `answer`, options `A`, `B`, ... and categories (of MMMU, MMStar
and ScienceQA also their own files, `question_parquet`). `image` holds the picture as base64, several as a list, or (64
characters or fewer) the index of the row that does; rows without one are left out, as the published counts leave them
out. Leaves: one record per picture, its questions in the order of the file; several pictures of one question are
frames; `question_rows` makes of a row what is asked. (Paper section 4.1: image chat.)
"""

from __future__ import annotations

import ast
import base64
import binascii
import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from desa2va.processing.inputs import image_size
from desa2va.training.data.records import Dialogue, Record, RecordError

from .annotation_files import check_split
from .json_entries import FieldError, named_field
from .published_files import VLMEVALKIT, check_published
from .question_parquet import HOMES as PARQUET_HOMES
from .question_parquet import PATTERNS, ParquetQuestions, parquet_files
from .question_rows import check_pair, check_rotation, choice_dialogue, hidden_dialogue, mme_dialogue, mmmu_dialogue
from .status import Reader, Status, look
from .tables import TableRecords
from .tsv_rows import TsvRows

HOMES = ("LMUData", ".")
PAGE = "https://github.com/open-compass/VLMEvalKit"
# name of the set: its splits, each with its file
FILES = {
    "mmbench": {name: f"MMBench_{name.upper()}.tsv" for name in ("dev_en", "dev_cn", "test_en", "test_cn")},
    "mmbench_v11": {name: f"MMBench_{name.upper()}_V11.tsv" for name in ("dev_en", "dev_cn", "test_en", "test_cn")},
    "seed_bench": {"image": "SEEDBench_IMG.tsv"},
    "ai2d": {"test": "AI2D_TEST.tsv", "test_no_mask": "AI2D_TEST_NO_MASK.tsv"},
    "mmstar": {"val": "MMStar.tsv"},
    "scienceqa": {"val": "ScienceQA_VAL.tsv", "test": "ScienceQA_TEST.tsv"},
    "mmmu": {"validation": "MMMU_DEV_VAL.tsv", "dev": "MMMU_DEV_VAL.tsv"},
    "mme": {"test": "MME.tsv"},
}
HIDDEN = ("test_en", "test_cn")  # splits of MMBench whose answers its server alone knows
NEEDED = ("index", "image", "question")
LONGEST_REFERENCE = 64  # characters; a longer cell is a picture
Row = dict[str, str]


class PictureGroups(Sequence[list[Row]]):
    """Rows of a table by their picture, in the order in which pictures come; `image` of each holds the picture.

    Args:
        rows: of the file. split: value of the column `split` that is asked about, all where `None`.

    Raises:
        ValueError: an index that is no number or occurs twice, a picture that no row holds, or no row left.
    """

    def __init__(self, rows: TsvRows | ParquetQuestions, split: str | None = None) -> None:
        self.rows = rows
        numbers: dict[str, int] = {}
        cells: dict[str, str] = {}  # index to the index of another row, or to the hash of a picture
        asked = []
        for number, row in enumerate(rows):
            index, image = row["index"].strip(), row["image"].strip()
            if not index.isdecimal() or index in numbers:
                problem = "occurs twice" if index in numbers else "is no whole number"
                raise ValueError(f"{rows.path}, row {number}: the index {index!r:.40} {problem}")
            numbers[index] = number
            if image:
                cells[index] = (
                    image if len(image) <= LONGEST_REFERENCE else f"#{hashlib.sha256(image.encode()).hexdigest()}"
                )
                if split is None or row["split"] == split:
                    asked.append(index)
        groups: dict[str, list[tuple[int, int]]] = {}
        for index in asked:
            held = index if cells[index].startswith("#") else cells[index]
            if not cells.get(held, "").startswith("#"):
                raise ValueError(f"{rows.path}, index {index}: no row {held!r:.40} holds its picture")
            groups.setdefault(cells[held], []).append((numbers[index], numbers[held]))
        if not groups:
            raise ValueError(f"{rows.path} asks nothing about a picture{f' in split {split}' if split else ''}")
        self._groups = list(groups.values())

    def __len__(self) -> int:
        return len(self._groups)

    def __getitem__(self, number: int) -> list[Row]:
        """The rows of a picture."""
        group = self._groups[number]
        holder = group[0][1]
        read = {place: self.rows[place] for place in dict.fromkeys((holder, *(place for place, _ in group)))}
        image = read[holder]["image"].strip()
        return [{**read[place], "image": image} for place, _ in group]


def read_questions(root: Path, split: str, dataset: str) -> TableRecords:
    """The pictures of a set with what is asked about them, read when they are asked for.

    Args:
        root: the data folder. split: as in `FILES`. dataset: a name in `FILES`.

    Raises:
        FileNotFoundError, ValueError: see `TsvRows`, `PictureGroups` and `check_published`.
    """
    check_split(dataset, split, tuple(FILES[dataset]))
    own = {"mme": mme_dialogue, "mmmu": mmmu_dialogue}.get(dataset, choice_dialogue)
    among = {"mme": check_pair, "mmbench": check_rotation, "mmbench_v11": check_rotation}.get(dataset)
    if split in HIDDEN:
        own, among = hidden_dialogue, None
    rows = _rows(Path(root), split, dataset)
    groups = PictureGroups(rows, split if dataset == "mmmu" else None)
    return TableRecords(groups, partial(_record, path=rows.path, dialogue=own, among=among))


def _rows(root: Path, split: str, dataset: str) -> TsvRows | ParquetQuestions:
    """VLMEvalKit's table where it is there, else the authors' Parquet files."""
    files = [root / home / FILES[dataset][split] for home in HOMES]
    path = next((file for file in files if file.is_file()), None)
    if path is None and dataset in PATTERNS:
        if not parquet_files(root, dataset, split):
            names = " or ".join(f"{PARQUET_HOMES[dataset]}/{pattern}" for pattern in PATTERNS[dataset][split])
            raise FileNotFoundError(f"there is no file {files[0]}, and in {root} no {names}")
        return ParquetQuestions(root, dataset, split)
    check_published(path or files[0], VLMEVALKIT)
    extra = {"mme": ("category", "image_path"), "mmmu": ("split",)}.get(dataset, ())
    return TsvRows(path or files[0], (*NEEDED, *(() if split in HIDDEN else ("answer",)), *extra))


def _record(
    rows: list[Row],
    number: int,
    path: Path,
    dialogue: Callable[[Row], Dialogue],
    among: Callable[[Row, list[Row]], None] | None,
) -> Record:
    """The record of a picture; `among` looks at each row beside the others, where scores need them together."""
    name = f"{path.name}, index {rows[0]['index']}"
    try:
        with named_field("image"):
            pictures = decoded_pictures(rows[0]["image"])
            sizes = [image_size(picture) for picture in pictures]
        dialogues = []
        for row in rows:
            name = f"{path.name}, index {row['index']}"
            dialogues.append(dialogue(row))
            if among is not None:
                among(row, rows)
    except FieldError as error:
        raise RecordError(name, error.field, str(error)) from error
    name, several = f"{path.name}, index {rows[0]['index']}", len(pictures) > 1
    paths = tuple(f"{rows[0]['index']}_{place}.png" for place in range(len(pictures)))
    size = max(height for height, _ in sizes), max(width for _, width in sizes)
    return Record(name, paths, several, size, len(pictures), tuple(dialogues), str(path), media=pictures)


def decoded_pictures(cell: str) -> tuple[bytes, ...]:
    """The picture files of a cell: base64, or a list of it.

    Raises:
        ValueError: neither.
    """
    try:
        parts = ast.literal_eval(cell) if cell.startswith("[") else [cell]
        return tuple(base64.b64decode("".join(part.split()), validate=True) for part in parts)
    except (SyntaxError, AttributeError, TypeError, binascii.Error) as error:
        raise ValueError(f"is neither base64 nor a list of it ({error})") from error


def tables_present(root: Path, dataset: str) -> Status:
    """Which tables of a set are there."""
    names = {}
    for split, name in FILES[dataset].items():
        parts = parquet_files(root, dataset, split) if dataset in PATTERNS else []
        choices = (*(f"{home}/{name}" for home in HOMES), *(str(part.relative_to(root)) for part in parts))
        names["|".join(choices)] = None
    return look(root, list(names), PAGE)


QUESTION_READERS = {
    name: Reader(partial(read_questions, dataset=name), partial(tables_present, dataset=name), tuple(splits))
    for name, splits in FILES.items()
    if name != "seed_bench"  # it has videos, too
}

__all__ = ["HIDDEN", "QUESTION_READERS", "read_questions", "tables_present"]
