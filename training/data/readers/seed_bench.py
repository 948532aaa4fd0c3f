"""SEED-Bench: multiple choice about pictures (VLMEvalKit's table) and about parts of videos (its own file).

Enters: `LMUData/SEEDBench_IMG.tsv`, or `SEED-Bench/SEED-Bench.json` with the videos of Something-Something V2,
EPIC-KITCHENS and Breakfast beside it. Leaves: one record per picture, or per question about a video.
(Paper section 4.1.)
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from desa2va.processing.inputs import open_visual
from desa2va.training.data.record_media import measure
from desa2va.training.data.records import Record, RecordError, inside

from .annotation_files import check_split
from .json_entries import FieldError, named_field
from .question_rows import choice_dialogue
from .question_tables import read_questions, tables_present
from .rows import attempt, need, read_object
from .status import Reader, Status, look
from .tables import TableRecords

HOME, FILE = "SEED-Bench", "SEED-Bench.json"
PAGE = "https://huggingface.co/datasets/AILab-CVC/SEED-Bench"
# Types of questions about videos, with the folder of their videos as the set's own script has it
FOLDERS = {
    10: "SSV2/videos",
    11: "EPIC-KITCHENS/3h91syskeag572hl6tvuovwv4d/videos/test",
    12: "BreakfastII_15fps_qvga_sync",
}
_ROUNDING = 1e-4  # seconds; times of frames are not exact
UNITS = {11: 1.0, 12: 15.0}  # a part is told in seconds, or in frames at 15 per second


def read_seed_bench(root: Path, split: str) -> TableRecords | Iterator[Record | RecordError]:
    """The records of a split, `image` or `video`.

    Raises:
        FileNotFoundError, ValueError: a file that is missing or of another shape.
    """
    check_split("seed_bench", split, ("image", "video"))
    return read_questions(root, split, "seed_bench") if split == "image" else _videos(Path(root) / HOME)


def _videos(folder: Path) -> Iterator[Record | RecordError]:
    table = read_object(folder / FILE)
    try:
        types = {number: name for name, number in need(table, "question_type", dict).items()}
        rows = need(table, "questions", list)
    except FieldError as error:
        raise ValueError(f"{folder / FILE}, {error.field}: {error}") from error
    for number, row in enumerate(rows):
        if not isinstance(row, dict) or row.get("data_type") != "image":
            yield from attempt(f"{FILE}, question {number}", _record, number, row, types, folder)


def _record(number: int, row: Any, types: dict[Any, str], folder: Path) -> Record:
    kind, name = need(row, "question_type_id", int), str(need(row, "question_id", str | int))
    if kind not in FOLDERS or kind not in types:
        raise FieldError("question_type_id", f"{kind} is no type of questions about videos")
    options = {letter: str(need(row, f"choice_{letter.lower()}", str | int | float)) for letter in "ABCD"}
    asked = {"index": str(number), "question": need(row, "question", str), "category": types[kind], **options}
    dialogue = choice_dialogue({**asked, "answer": need(row, "answer", str)})
    with named_field("video"):
        path = inside(folder / FOLDERS[kind], need(row, "data_id", str))
        size, length = measure((path,), True)
    part = _part(path, need(row, "segment", list), UNITS[kind]) if kind in UNITS else {}
    dialogue = replace(dialogue, ids={**dialogue.ids, "question_id": name, **part})
    return Record(f"question {name}", (path,), True, size, length, (dialogue,), FILE)


def _part(path: str, segment: list[Any], unit: float) -> dict[str, int]:
    """The frames of a question's part, at least one."""
    is_span = len(segment) == 2 and all(isinstance(bound, int | float) for bound in segment)
    if not is_span or not 0 <= segment[0] <= segment[1]:
        raise FieldError("segment", f"is where a part begins and ends, got {segment!r:.60}")
    times = open_visual(path).timestamps
    first, end = (bisect_left(times, bound / unit - _ROUNDING) for bound in segment)
    if first >= len(times):
        raise FieldError("segment", f"begins at {segment[0] / unit:g} s, the last frame is at {times[-1]:g} s")
    return {"first_frame": first, "end_frame": max(end, first + 1)}


def seed_bench_status(root: Path) -> Status:
    """What of the set is there."""
    table = tables_present(root, "seed_bench")
    videos = look(Path(root), [f"{HOME}/{name}" for name in (FILE, *FOLDERS.values())], PAGE)
    return Status(table.found + videos.found, table.missing + videos.missing, f"{table.where}, {PAGE}")


SEED_BENCH_READERS = {"seed_bench": Reader(read_seed_bench, seed_bench_status, ("image", "video"))}

__all__ = ["SEED_BENCH_READERS", "read_seed_bench"]
