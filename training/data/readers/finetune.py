"""The fine-tune JSON: records enter, checked and with all masks as run-length codes they leave, before any training.

A file holds a JSON list of records, or one record per line (`.jsonl`). A record:

| key | what it holds |
|---|---|
| `image` | a picture, named relative to the root; or |
| `video` | a list of frame pictures, a folder of them, or a video file |
| `stride` | optional, of a video file or folder: masks belong to every n-th frame from the first; by default 1 |
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

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from desa2va.training.data.mask_parts import picture_codes, video_codes
from desa2va.training.data.record_media import measure
from desa2va.training.data.records import Dialogue, Record, RecordError, expression_dialogue, inside

from .finetune_texts import dialogues, expressions
from .json_entries import FieldError, Unreadable, named_field, read_entries


def read_finetune(
    path: str | os.PathLike, image_root: str | os.PathLike | None = None
) -> Iterator[Record | RecordError]:
    """Reads and checks a file record by record. Pictures are opened for their size, not decoded; masks are decoded.

    Args:
        path: the JSON list, or JSON lines.
        image_root: where file names start from; by default the folder `images` beside the file if there is one, else
            the file's own folder.

    Raises:
        FileNotFoundError, ValueError: see `read_entries`; a wrong record is yielded as its `RecordError`.
    """
    root = Path(os.path.abspath(default_root(path) if image_root is None else image_root))
    for number, entry in enumerate(read_entries(path)):
        try:
            yield _Checker(number, root, os.fspath(path)).record(entry)
        except FieldError as error:
            label = _label(entry)
            where = f"{os.path.basename(path)}, record {number}"
            yield RecordError(f"{where} ({label})" if label else where, error.field, str(error))


def default_root(path: str | os.PathLike) -> Path:
    """Where file names start from: the folder `images` beside the JSON if there is one, else the JSON's own folder."""
    folder = Path(path).resolve().parent
    return folder / "images" if (folder / "images").is_dir() else folder


def _label(entry: Any) -> str:
    """The file a raw record names, where it does."""
    value = entry.get("image", entry.get("video")) if isinstance(entry, dict) else None
    value = value[0] if isinstance(value, list) and value else value
    return value[:200] if isinstance(value, str) else ""


class _Checker:
    """Checks one record. Methods raise `ValueError` or `FileNotFoundError`: what is wrong and what would be right."""

    def __init__(self, number: int, root: Path, source: str) -> None:
        self.number, self.root, self.source = number, root, source

    def record(self, entry: Any) -> Record:
        """A raw record, checked."""
        with named_field("record"):
            if isinstance(entry, Unreadable):
                raise ValueError(entry.reason)
            if not isinstance(entry, dict):
                raise ValueError(f"a record is a JSON object, got {type(entry).__name__}")
        with named_field("video" if "video" in entry else "image"), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # `unreadable` tells them, with all pixels read
            paths, is_video = self.paths(entry)
            size, num_frames = measure(paths, is_video)
        with named_field("stride"):
            stride = self.stride(entry, is_video)
            num_frames = -(-num_frames // stride)
        texts, masks = expressions(entry)
        codes = []
        for index, mask in enumerate(masks):
            with named_field(f"mask {index}"):
                codes.append(video_codes(mask, size, num_frames) if is_video else picture_codes(mask, size))
        chats = [Dialogue("chat", turns) for turns in dialogues(entry)]
        if not texts and not chats:
            raise FieldError("record", "nothing to learn: neither text with mask, nor caption, nor conversations")
        asked = [expression_dialogue(text.strip(), found) for text, found in zip(texts, codes, strict=True)]
        name = f"{os.path.basename(self.source)}, record {self.number} ({paths[0]})"
        return Record(name, paths, is_video, size, num_frames, (*asked, *chats), self.source, stride=stride)

    def stride(self, entry: dict[str, Any], is_video: bool) -> int:
        """Frames of the video per mask."""
        stride = entry.get("stride", 1)
        if type(stride) is not int or stride < 1:
            raise ValueError(f"must be a whole number of frames, at least 1, got {stride!r:.40}")
        if stride > 1 and not (is_video and isinstance(entry["video"], str)):
            raise ValueError("is for a video file or a folder of frames; of a list of frames name those with masks")
        return stride

    def paths(self, entry: dict[str, Any]) -> tuple[tuple[str, ...], bool]:
        """Full names of the files, and whether they are a video."""
        if ("image" in entry) == ("video" in entry):
            raise ValueError('a record names either one "image" or one "video"')
        is_video = "video" in entry
        value = entry["video"] if is_video else entry["image"]
        names = value if is_video and isinstance(value, list) else [value]
        if not names or not all(isinstance(name, str) and name.strip() for name in names):
            raise ValueError('"image" is a file name, "video" a file name or a list of them, none empty')
        return tuple(inside(self.root, name) for name in names), is_video


__all__ = ["default_root", "read_finetune"]
