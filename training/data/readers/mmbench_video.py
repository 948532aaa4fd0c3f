"""MMBench-Video: free answers to questions about videos, each about one ability or several.

Enters: `MMBench-Video/MMBench-Video.tsv` and the videos that it names, unpacked. Leaves: one record per video.
(Paper section 4.1: video chat.)
"""

from __future__ import annotations

import ast
import json
from functools import partial
from pathlib import Path

from desa2va.training.data.question_sets import LEAVES
from desa2va.training.data.record_media import measure
from desa2va.training.data.records import Dialogue, Record

from .annotation_files import check_split
from .json_entries import FieldError, named_field
from .status import Reader, Status, look
from .tables import TableRecords
from .tsv_rows import TsvRows
from .video_questions import find_video, video_questions

HOME, FILE = "MMBench-Video", "MMBench-Video.tsv"
PAGE = "https://huggingface.co/datasets/opencompass/MMBench-Video"
COLUMNS = ("index", "video_path", "question", "answer", "dimensions")
SPLITS = ("test",)


def read_mmbench_video(root: Path, split: str = "test") -> TableRecords:
    """The videos with their questions, read when they are asked for.

    Raises:
        FileNotFoundError, ValueError: see `TsvRows`.
    """
    check_split("mmbench_video", split, SPLITS)
    folder = Path(root) / HOME
    return video_questions(TsvRows(folder / FILE, COLUMNS), "video_path", partial(_record, folder))


def _record(folder: Path, rows: list[dict[str, str]]) -> Record:
    with named_field("video"):
        path = find_video(folder, (".",), rows[0]["video_path"], "the files of video_pkl/")
        size, length = measure((path,), True)
    return Record(Path(path).stem, (path,), True, size, length, tuple(map(_dialogue, rows)), FILE)


def _dialogue(row: dict[str, str]) -> Dialogue:
    question, answer = row["question"].strip(), row["answer"].strip()
    if not question or not answer:
        raise FieldError("question", f"index {row['index']} needs a question and its answer")
    ids = {"index": row["index"].strip(), "question": question, "abilities": json.dumps(_abilities(row))}
    return Dialogue("open", ((question, answer),), ids=ids)


def _abilities(row: dict[str, str]) -> list[str]:
    try:
        abilities = ast.literal_eval(row["dimensions"])
    except (ValueError, SyntaxError):
        abilities = None
    if not abilities or not isinstance(abilities, list) or not all(isinstance(name, str) for name in abilities):
        raise FieldError(
            "dimensions", f"index {row['index']} needs a list of abilities, got {row['dimensions']!r:.80}"
        )
    unknown = [name for name in abilities if name not in LEAVES]
    if unknown:
        raise FieldError(
            "dimensions",
            f"index {row['index']} has {unknown[0]!r:.60}, which is none of MMBench-Video's {len(LEAVES)} abilities "
            f"({', '.join(LEAVES)})",
        )
    return abilities


def mmbench_video_status(root: Path) -> Status:
    """What of the set is there."""
    return look(Path(root), [f"{HOME}/{FILE}", f"{HOME}/video"], PAGE, note="videos are unpacked from video_pkl/")


MMBENCH_VIDEO_READERS = {"mmbench_video": Reader(read_mmbench_video, mmbench_video_status, SPLITS)}

__all__ = ["MMBENCH_VIDEO_READERS", "read_mmbench_video"]
