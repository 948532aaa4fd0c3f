"""The fine-tune JSON: records enter, checked and with all masks as run-length codes they leave, before any training.

A file holds a JSON list of records, or one record per line (`.jsonl`). A record:

| key | what it holds |
|---|---|
| `image` | a picture, named relative to the root; or |
| `video` | a list of frame pictures, a folder of them, or a video file |
| `text` | one expression per object, e.g. `"the dog on the left"` |
| `mask` | for every expression its mask; `null` where the picture holds no such thing |
| `caption` | optional: what a description of the visual says |
| `conversations` | optional: chat without masks, `[{"from": "human", "value": ...}, {"from": "gpt", ...}, ...]` |

The mask of a picture is a COCO run-length code (text or list counts), or a list of parts, each a polygon
`[x0, y0, x1, y1, ...]` or a code; the parts are united, so "the two people" is one entry with the parts of both, and
gets one `[SEG]`. The mask of a video is a list with one such entry or `null` per frame. Unknown keys are ignored.
Sa2VA's `{image, mask: [object][polygon][coordinates], text}` is a special case. (Paper section 4: RefCOCO-style data.)
"""

from __future__ import annotations

import json
import os
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from desa2va.processing.files import decode_mask
from desa2va.processing.inputs import IMAGE_EXTENSIONS, image_size, load_image, open_visual

from .finetune_masks import Code, picture_codes, video_codes
from .sample import SEG

USERS = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant"}
PLACEHOLDERS = ("<image>", "<video>")


@dataclass(frozen=True)
class Record:
    """One checked record.

    Attributes:
        number: its place in the file, from 0. paths: the picture, the frames, or one folder or video file.
        is_video: whether it is a video. size: (height, width), pixels. num_frames: 1 for a picture.
        texts: the expressions. codes: for each expression one run-length code per frame (`None`: not on this frame),
            or `None` where nothing fits it.
        turns: `(user, assistant)` texts without masks, the caption's first.
    """

    number: int
    paths: tuple[str, ...]
    is_video: bool
    size: tuple[int, int]
    num_frames: int
    texts: tuple[str, ...] = ()
    codes: tuple[tuple[Code | None, ...] | None, ...] = ()
    turns: tuple[tuple[tuple[str, str], ...], ...] = ()

    @property
    def of_pictures(self) -> bool:
        """Whether every frame is a picture file of its own."""
        return all(map(_is_picture, self.paths))

    @property
    def name(self) -> str:
        """What errors call it."""
        return f"record {self.number} ({self.paths[0]})"

    def mask(self, index: int, frames: list[int] | None = None) -> np.ndarray:
        """Bool `(T, H, W)` of expression `index` on these frames, on all by default; empty where nothing fits."""
        frames = list(range(self.num_frames)) if frames is None else frames
        masks = np.zeros((len(frames), *self.size), bool)
        codes = self.codes[index]
        for row, frame in enumerate(frames if codes is not None else ()):
            if codes[frame] is not None:
                masks[row] = decode_mask(codes[frame])
        return masks


@dataclass
class Report:
    """Checked records and what is wrong with the others: one line per problem."""

    records: list[Record] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """Numbers of pictures, videos, frames, expressions, expressions without target, and chat turns."""
        codes = [entry for record in self.records for entry in record.codes]
        return {
            "pictures": sum(not record.is_video for record in self.records),
            "videos": sum(record.is_video for record in self.records),
            "frames": sum(record.num_frames for record in self.records),
            "expressions": len(codes),
            "without target": sum(entry is None for entry in codes),
            "chat turns": sum(len(turns) for record in self.records for turns in record.turns),
        }


def default_root(path: str | os.PathLike) -> Path:
    """Where file names start from: the folder `images` beside the JSON if there is one, else the JSON's own folder."""
    folder = Path(path).resolve().parent
    return folder / "images" if (folder / "images").is_dir() else folder


def read_entries(path: str | os.PathLike) -> list[Any]:
    """The raw records of a JSON list or of JSON lines.

    Raises:
        FileNotFoundError: no such file. ValueError: no JSON (the line is named), no list, or no records.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no fine-tune file {path}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text ({error})") from error
    if path.suffix == ".jsonl" or text.lstrip().startswith("{"):
        entries = []
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                entries.append(_parse(line, f"{path}, line {number}"))
    else:
        entries = _parse(text, str(path))
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"{path} must hold a list of records, and at least one")
    return entries


def _parse(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where}: not valid JSON ({error})") from error


def check_file(path: str | os.PathLike, image_root: str | os.PathLike | None = None) -> Report:
    """Reads and checks a whole file. Pictures are opened for their size, not decoded; masks are decoded.

    Args:
        path: the JSON.
        image_root: where file names start from; `default_root` when omitted.

    Raises:
        FileNotFoundError, ValueError: see `read_entries`; problems of records are reported, not raised.
    """
    root = Path(os.path.abspath(default_root(path) if image_root is None else image_root))
    report = Report()
    for number, entry in enumerate(read_entries(path)):
        try:
            report.records.append(_Checker(number, root).record(entry))
        except (ValueError, FileNotFoundError) as error:
            label = _label(entry)
            report.problems.append(f"record {number}{f' ({label})' if label else ''}: {error}")
    return report


def unreadable(record: Record) -> list[str]:
    """Decodes every frame of a record: the problems found, none where all is well."""
    problems = []
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        try:
            if record.of_pictures or not record.is_video:
                for path in record.paths:
                    load_image(path)
            else:
                for _ in open_visual(record.paths[0]).iterate():
                    pass
        except (ValueError, UserWarning) as error:
            problems.append(f"{record.name}: {error}")
    return problems


def _label(entry: Any) -> str:
    """The file a raw record names, where it does."""
    value = entry.get("image", entry.get("video")) if isinstance(entry, dict) else None
    value = value[0] if isinstance(value, list) and value else value
    return value if isinstance(value, str) else ""


class _Checker:
    """Checks one record. Methods raise `ValueError` or `FileNotFoundError`: what is wrong and what would be right."""

    def __init__(self, number: int, root: Path) -> None:
        self.number = number
        self.root = root

    def record(self, entry: Any) -> Record:
        """A raw record, checked."""
        if not isinstance(entry, dict):
            raise ValueError(f"a record is a JSON object, got {type(entry).__name__}")
        paths, is_video = self.paths(entry)
        size, num_frames = self.measure(paths, is_video)
        texts, masks = entry.get("text", []), entry.get("mask", [])
        for name, value in (("text", texts), ("mask", masks)):
            if not isinstance(value, list):
                raise ValueError(f"{name!r} is a list with one entry per object, got {type(value).__name__}")
        if len(texts) != len(masks):
            raise ValueError(f"{len(texts)} texts but {len(masks)} masks; every expression needs its mask, or null")
        codes = []
        for index, (text, mask) in enumerate(zip(texts, masks, strict=True)):
            _check_text(text, f"text {index}")
            if SEG in text:
                raise ValueError(f"text {index} holds {SEG}, which only answers hold: {text!r}")
            try:
                codes.append(video_codes(mask, size, num_frames) if is_video else picture_codes(mask, size))
            except ValueError as error:
                raise ValueError(f"mask {index} ({text!r}): {error}") from error
        turns = _turns(entry)
        if not texts and not turns:
            raise ValueError("nothing to learn: neither text with mask, nor caption, nor conversations")
        cleaned = tuple(text.strip() for text in texts)
        return Record(self.number, paths, is_video, size, num_frames, cleaned, tuple(codes), turns)

    def paths(self, entry: dict[str, Any]) -> tuple[tuple[str, ...], bool]:
        """Full names of the files, and whether they are a video."""
        if ("image" in entry) == ("video" in entry):
            raise ValueError('a record names either one "image" or one "video"')
        is_video = "video" in entry
        value = entry["video"] if is_video else entry["image"]
        names = value if is_video and isinstance(value, list) else [value]
        if not names or not all(isinstance(name, str) and name.strip() for name in names):
            raise ValueError('"image" is a file name, "video" a file name or a list of them, none empty')
        return tuple(self.inside(name) for name in names), is_video

    def inside(self, name: str) -> str:
        """The file `name` under the root."""
        path = os.path.normpath(self.root / name)
        if not Path(path).is_relative_to(self.root):
            raise ValueError(f"file name {name!r} leads out of {self.root}; name files relative to it")
        if not os.path.exists(path):
            raise FileNotFoundError(f"no file {path}")
        return path

    def measure(self, paths: tuple[str, ...], is_video: bool) -> tuple[tuple[int, int], int]:
        """(height, width) and number of frames."""
        if is_video and not _is_picture(paths[0]):
            if len(paths) > 1:
                raise ValueError(f"{paths[0]} is no picture; a list of frames holds picture files")
            source = open_visual(paths[0])
            return (source.height, source.width), len(source)
        sizes = [image_size(path) for path in paths]
        for path, size in zip(paths, sizes, strict=True):
            if size != sizes[0]:
                raise ValueError(
                    f"frames of one video need one size, but {paths[0]} is {sizes[0][1]} x {sizes[0][0]} and {path} "
                    f"is {size[1]} x {size[0]} (width x height)"
                )
        return sizes[0], len(sizes)


def _is_picture(path: str) -> bool:
    """Whether a name is that of a picture file; a GIF may be either, as a frame it is rare."""
    return Path(path).suffix.lower() in set(IMAGE_EXTENSIONS) - {".gif"}


def _check_text(text: Any, name: str) -> None:
    if not isinstance(text, str) or not text.strip(" .\t\r\n"):
        raise ValueError(f"{name} must be an expression such as 'the dog on the left', got {text!r}")


def _turns(entry: dict[str, Any]) -> tuple[tuple[tuple[str, str], ...], ...]:
    """The caption and the chat of a record as `(user, assistant)` turns."""
    dialogues = []
    if entry.get("caption") is not None:
        _check_text(entry["caption"], "caption")
        dialogues.append((("Describe the image.", entry["caption"].strip()),))
    if entry.get("conversations"):
        dialogues.append(_chat(entry["conversations"]))
    for _, answer in (turn for turns in dialogues for turn in turns):
        if SEG in answer:
            raise ValueError(f"the answer {answer!r} holds {SEG}, for which there is no mask; use text and mask")
    return tuple(dialogues)


def _chat(messages: Any) -> tuple[tuple[str, str], ...]:
    """LLaVA's list of messages as turns; placeholders of the picture are dropped, the processor puts its own."""
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise ValueError("conversations is a list of objects with 'from' and 'value'")
    roles = [USERS.get(str(message.get("from", message.get("role")))) for message in messages]
    if roles != ["user", "assistant"] * (len(roles) // 2) or not roles:
        raise ValueError(f"conversations must alternate between human and gpt and end with gpt, got {roles}")
    texts = []
    for index, message in enumerate(messages):
        text = message.get("value", message.get("content"))
        for placeholder in PLACEHOLDERS:
            text = text.replace(placeholder, "") if isinstance(text, str) else text
        _check_text(text, f"conversations[{index}]")
        texts.append(text.strip())
    return tuple(zip(texts[::2], texts[1::2], strict=True))


__all__ = ["Record", "Report", "check_file", "default_root", "read_entries", "unreadable"]
