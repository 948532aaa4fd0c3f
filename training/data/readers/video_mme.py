"""Video-MME: three questions about each of 900 videos, with or without what is said on the frames that are shown.

Enters: `Video-MME/videomme/test-00000-of-00001.parquet`, `video/<videoID>.mp4` (or `data/`), `subtitle/<videoID>.srt`.
Leaves: one record per video. Prompts are those of the set's page. (Paper section 4.1: video chat.)
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import pyarrow
import pyarrow.parquet

from desa2va.processing.inputs import open_visual
from desa2va.training.data.record_media import measure
from desa2va.training.data.records import Dialogue, Record

from .annotation_files import check_split
from .json_entries import FieldError, named_field
from .rows import need
from .shown_frames import even_frames
from .status import Reader, Status, look
from .subtitles import read_subtitles, said_at
from .tables import TableRecords
from .video_questions import find_video, video_questions

HOME = "Video-MME"
FILE = "videomme/test-00000-of-00001.parquet"
VIDEOS, SUBTITLES = ("video", "data"), "subtitle"
PAGE = "https://huggingface.co/datasets/lmms-lab/Video-MME"
VIDEO_MME_GROUPS = ("duration", "domain", "sub_category", "task_type")
COLUMNS = ("videoID", "question_id", "question", "options", "answer", *VIDEO_MME_GROUPS)
SPLITS = ("without_subtitles", "with_subtitles")
REQUEST = (
    "Select the best answer to the following multiple-choice question based on the video. Respond with only the "
    "letter (A, B, C, or D) of the correct option.\n{}\nThe best answer is:"
)
HEARD = "This video's subtitles are listed below:\n{}\n"


def read_video_mme(root: Path, split: str) -> TableRecords:
    """The videos with their questions, read when they are asked for.

    Args:
        root: the data folder. split: `with_subtitles` puts what is said on the shown frames in front; nothing where a
            video has no subtitles (as about one in six), or none on these frames.

    Raises:
        FileNotFoundError: no table, or no folder of subtitles. ValueError: a table of another shape.
    """
    check_split("video_mme", split, SPLITS)
    folder = Path(root) / HOME
    subtitles = folder / SUBTITLES if split == "with_subtitles" else None
    if subtitles is not None and not any(subtitles.glob("*.srt")):
        raise FileNotFoundError(f"there are no subtitles in {subtitles}; unpack subtitle.zip there")
    return video_questions(_rows(folder / FILE), "videoID", partial(_record, folder, subtitles))


def _rows(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        table = pyarrow.parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise ValueError(f"{path} is no Parquet file ({error})") from error
    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing:
        raise ValueError(f"{path} lacks the columns {', '.join(missing)}; it has {', '.join(table.column_names):.200}")
    return table.select(COLUMNS).to_pylist()


def _record(folder: Path, subtitles: Path | None, rows: list[dict[str, Any]]) -> Record:
    video, heard = need(rows[0], "videoID", str), ""
    with named_field("video"):
        path = find_video(folder, VIDEOS, f"{video}.mp4", "the zips of data/")
        size, length = measure((path,), True)
    if subtitles is not None and (subtitles / f"{video}.srt").is_file():
        with named_field("subtitles"):
            times = open_visual(path).timestamps
            shown = [times[frame] for frame in even_frames(0, length)]
            heard = said_at(read_subtitles(subtitles / f"{video}.srt"), shown)
    dialogues = tuple(_dialogue(row, heard) for row in rows)
    return Record(video, (path,), True, size, length, dialogues, FILE)


def _dialogue(row: dict[str, Any], heard: str) -> Dialogue:
    options = dict(zip(ascii_uppercase, map(str, need(row, "options", list)), strict=False))
    question, answer = need(row, "question", str).strip(), need(row, "answer", str).strip()
    if answer not in options:
        raise FieldError("answer", f"{answer!r:.40} is none of the options ({', '.join(options) or 'none'})")
    asked = REQUEST.format("\n".join((question, *options.values())))
    prompt = f"{HEARD.format(heard)}{asked}" if heard else asked
    texts = {letter: text.removeprefix(f"{letter}.").strip(". \n") for letter, text in options.items()}
    groups = {name: need(row, name, str) for name in VIDEO_MME_GROUPS}
    ids = {"question_id": need(row, "question_id", str), "answer": answer, **texts, **groups}
    return Dialogue("choice", ((prompt, answer),), ids=ids)


def video_mme_status(root: Path) -> Status:
    """What of the set is there."""
    videos = "|".join(f"{HOME}/{place}" for place in VIDEOS)
    return look(Path(root), [f"{HOME}/{FILE}", videos, f"{HOME}/{SUBTITLES}"], PAGE)


VIDEO_MME_READERS = {"video_mme": Reader(read_video_mme, video_mme_status, SPLITS)}

__all__ = ["VIDEO_MME_GROUPS", "VIDEO_MME_READERS", "read_video_mme"]
