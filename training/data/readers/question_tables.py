"""Questions about pictures in VLMEvalKit's tables: MMBench, SEED-Bench, AI2D, MMStar, ScienceQA, MMMU and MME.

Enters: `NAME.tsv` with `index`, `image`, `question`, `answer`, options `A`, `B`, ... and categories (of MMMU, MMStar
and ScienceQA also their own files, `question_parquet`). `image` holds the picture as base64, several as a list, or (64
characters or fewer) the index of the row that does; rows without one are left out, as the published counts leave them
out. Leaves: one record per picture, its questions in the order of the file; several pictures of one question are
frames. (Paper section 4.1: image chat.)

Prompts are those of the Sa2VA family's evaluation (InternVL's): the hint, the question, the options, and a request
for the letter alone, in Chinese where the question is.
"""

from __future__ import annotations

import ast
import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from desa2va.processing.inputs import image_size
from desa2va.training.data.records import Dialogue, Record, RecordError

from .annotation_files import check_split
from .json_entries import FieldError, named_field
from .published_files import VLMEVALKIT, check_published
from .question_parquet import HOMES as PARQUET_HOMES
from .question_parquet import PATTERNS, ParquetQuestions, parquet_files
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
QUESTION_GROUPS = ("category", "l2-category", "split")
NEEDED = ("index", "image", "question")
LONGEST_REFERENCE = 64  # characters; a longer cell is a picture
_CHINESE = re.compile("[\u4e00-\u9fff]")
_ASK_LETTER = "Answer with the option's letter from the given choices directly.", "请直接回答选项字母。"
_ASK_ANSWER = "Answer the question directly.", "请直接回答问题。"
_ASK_BRIEFLY = "Answer the question using a single word or phrase."
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
    rows = _rows(Path(root), split, dataset)
    groups = PictureGroups(rows, split if dataset == "mmmu" else None)
    make = partial(_record, path=rows.path, dialogue=hidden_dialogue if split in HIDDEN else own)
    return TableRecords(groups, make)


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


def _record(rows: list[Row], number: int, path: Path, dialogue: Callable[[Row], Dialogue]) -> Record:
    name = f"{path.name}, index {rows[0]['index']}"
    try:
        with named_field("image"):
            pictures = decoded_pictures(rows[0]["image"])
            sizes = [image_size(picture) for picture in pictures]
        dialogues = []
        for row in rows:
            name = f"{path.name}, index {row['index']}"
            dialogues.append(dialogue(row))
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


def options_of(row: Row) -> dict[str, str]:
    """The options that a row has, by letter; an empty cell is none."""
    return {letter: row[letter].strip() for letter in ascii_uppercase if row.get(letter, "").strip()}


def choice_dialogue(row: Row) -> Dialogue:
    """A multiple-choice question; the answer is a letter.

    Raises:
        FieldError: no question, or the answer is none of the options.
    """
    options, answer = options_of(row), row["answer"].strip()
    if answer not in options:
        known = ", ".join(options) or "none"
        raise FieldError(
            "answer", f"{answer!r:.40} is none of the options ({known}); hidden answers can not be scored"
        )
    return Dialogue("choice", ((choice_prompt(row), answer),), ids={**_ids(row), "answer": answer, **options})


def hidden_dialogue(row: Row) -> Dialogue:
    """A multiple-choice question whose answer is not public; what its server reads beside the answer is kept."""
    ids = {**_ids(row), "question": row["question"].strip(), **options_of(row)}
    return Dialogue("unlabelled_choice", ((choice_prompt(row), ""),), ids=ids)


def mmmu_dialogue(row: Row) -> Dialogue:
    """One of MMMU's questions: multiple choice, or open where the row has no option A; then the answer is a text, or
    a list of such.
    """
    if options_of(row).get("A"):
        return choice_dialogue(row)
    if not row["answer"].strip():
        raise FieldError("answer", "an open question needs its answer")
    prompt = "\n".join((_question(row), _ASK_ANSWER[_is_chinese(row["question"])]))
    answer = row["answer"].strip()
    return Dialogue("open", ((prompt, answer),), ids={**_ids(row), "answer": answer})


def mme_dialogue(row: Row) -> Dialogue:
    """One of MME's questions, whose answer is Yes or No; `picture` names what it is about."""
    answer = row["answer"].strip().lower()
    if answer not in ("yes", "no"):
        raise FieldError("answer", f"must be Yes or No, got {row['answer']!r:.40}")
    ids = {**_ids(row), "answer": answer, "picture": row["image_path"].strip()}
    return Dialogue("yes_no", ((f"{_question(row)} {_ASK_BRIEFLY}", answer),), ids=ids)


def choice_prompt(row: Row) -> str:
    """The hint, the question, the options and the request for a letter."""
    options = [f"{letter}. {text}" for letter, text in options_of(row).items()]
    text = "\n".join((_question(row), *options))
    return f"{text}\n{_ASK_LETTER[_is_chinese(text)]}"


def _question(row: Row) -> str:
    if not row["question"].strip():
        raise FieldError("question", "nothing is asked")
    return "\n".join(filter(None, (row.get("hint", "").strip(), row["question"].strip())))


def _is_chinese(text: str) -> bool:
    return _CHINESE.search(text) is not None


def _ids(row: Row) -> dict[str, Any]:
    groups = {**row, "l2-category": row.get("l2-category") or row.get("l2_category", "")}
    return {
        "index": int(row["index"]),
        **{name: groups[name].strip() for name in QUESTION_GROUPS if groups.get(name, "").strip()},
    }


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

__all__ = ["HIDDEN", "QUESTION_GROUPS", "QUESTION_READERS", "choice_dialogue", "read_questions", "tables_present"]
