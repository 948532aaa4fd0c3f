"""Video-ChatGPT and Chat-UniVi: questions and answers about videos, without masks.

Train: `video_datas/chat_univi/video_chat.json` or `VideoInstruct100K.json`, rows `{video, conversations}` or
`{q, a, video_id}`. The other splits are benchmarks: `<split>_qa.json` beside it, rows with `Q` (or `Q1` and `Q2`) and
`A`, or `question` and `answer`, and `video_name`. Videos lie in `Activity_Videos/`, those of benchmarks perhaps in
`Test_Videos/`; where one has another suffix than the row says (`.mkv`, or `.pkl` of features), the video of that name
is taken. Leaves: one record per row. (Paper section 4.)
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from desa2va.training.data.record_media import measure
from desa2va.training.data.records import Dialogue, Record, RecordError, inside

from .annotation_files import check_split, read_file
from .status import Status, look

BENCHMARKS = ("generic", "temporal", "consistency", "activitynet")
SPLITS = ("train", *BENCHMARKS)
_PLACE = "video_datas/chat_univi"
_TABLES = ("video_chat.json", "VideoInstruct100K.json")
_FOLDERS = ("Activity_Videos", "Test_Videos")
_SUFFIXES = (".mp4", ".mkv", ".webm", ".avi")
_TAG = "<video>"
Turns = tuple[tuple[str, str], ...]


def read_video_chat(root: Path, split: str) -> Iterator[Record | RecordError]:
    """Records of a split.

    Raises:
        ValueError: no such split, or a file of another shape. FileNotFoundError: an annotation file is missing.
    """
    check_split("video_chat", split, SPLITS)
    folder = Path(root) / _PLACE
    names = _TABLES if split == "train" else (f"{split}_qa.json",)
    path = next((folder / name for name in names if (folder / name).is_file()), folder / names[0])
    rows = read_file(path)
    if not isinstance(rows, list):
        raise ValueError(f"{path}: expected a list of rows, got {type(rows).__name__}")
    measured = functools.cache(lambda file: measure((file,), True))  # a video has dozens of rows
    for number, row in enumerate(rows):
        where = f"{path}, row {number}"
        try:
            said = _turns(row)
        except ValueError as error:
            yield RecordError(where, "conversations", str(error))
            continue
        try:
            file = _video(folder, row)
            size, length = measured(file)
        except (ValueError, OSError) as error:
            yield RecordError(where, "video", str(error))
            continue
        ids = {"video": Path(file).stem, "row": number}
        dialogues = tuple(Dialogue("chat", turns, ids={**ids, "question": k}) for k, turns in enumerate(said))
        yield Record(f"row {number}", (file,), True, size, length, dialogues, f"video_chat/{split}")


def _turns(row: Any) -> list[Turns]:
    """Dialogues of a row: one, or of a consistency question its two wordings."""
    if not isinstance(row, dict):
        raise ValueError(f"a row is an object, got {type(row).__name__}")
    if "conversations" in row:
        return [_conversation(row["conversations"])]
    for questions, answer in ((("q",), "a"), (("Q",), "A"), (("Q1", "Q2"), "A"), (("question",), "answer")):
        texts = [row.get(key) for key in (*questions, answer)]
        if all(isinstance(text, str) and text.strip() for text in texts):
            return [((_without_tag(text), texts[-1].strip()),) for text in texts[:-1]]
    raise ValueError("needs 'conversations', or a question and an answer")


def _conversation(messages: Any) -> Turns:
    """Pairs of what a human and the model say, the tag of the video removed.

    Raises:
        ValueError: other numbers of questions than of answers, or not in turn.
    """
    if not isinstance(messages, list) or not messages or not all(isinstance(message, dict) for message in messages):
        raise ValueError("'conversations' must be a list of messages {from, value}")
    speakers = [message.get("from") for message in messages]
    asked, answered = speakers.count("human"), speakers.count("gpt")
    if speakers != ["human", "gpt"] * (len(speakers) // 2):
        raise ValueError(f"questions and answers must take turns, got {asked} questions and {answered} answers")
    texts = [message.get("value") for message in messages]
    if not all(isinstance(text, str) and _without_tag(text) for text in texts):
        raise ValueError("a message without words under 'value'")
    return tuple((_without_tag(human), gpt.strip()) for human, gpt in zip(texts[::2], texts[1::2], strict=True))


def _without_tag(text: str) -> str:
    return text.replace(_TAG, "").strip()


def _video(folder: Path, row: dict[str, Any]) -> str:
    """The file of a row's video: the one named, else one of that name with the suffix of a video."""
    named = next((row[key] for key in ("video", "video_id", "video_name") if isinstance(row.get(key), str)), None)
    if named is None:
        raise ValueError("needs its video under 'video', 'video_id' or 'video_name'")
    stem = named.removesuffix(".pkl")
    for suffix in _SUFFIXES:
        stem = stem.removesuffix(suffix)
    for place in _FOLDERS:
        for name in (named, *(f"{stem}{suffix}" for suffix in _SUFFIXES)):
            if not name.endswith(_SUFFIXES):
                continue
            try:
                return inside(folder / place, name)
            except FileNotFoundError:
                continue
    raise FileNotFoundError(f"no video {named} in {' or '.join(str(folder / place) for place in _FOLDERS)}")


def video_chat_status(root: Path) -> Status:
    """What of the training set is there; benchmarks are mentioned where they are."""
    names = ["|".join(f"{_PLACE}/{name}" for name in _TABLES), f"{_PLACE}/{_FOLDERS[0]}"]
    where = "https://github.com/mbzuai-oryx/Video-ChatGPT, https://github.com/PKU-YuanGroup/Chat-UniVi"
    there = [split for split in BENCHMARKS if (Path(root) / _PLACE / f"{split}_qa.json").is_file()]
    return look(root, names, where, note=f"benchmarks: {', '.join(there) or 'none'}")


__all__ = ["BENCHMARKS", "SPLITS", "read_video_chat", "video_chat_status"]
