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

import os
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from desa2va.processing.files import decode_mask
from desa2va.processing.inputs import IMAGE_EXTENSIONS, image_size, load_image, open_visual

from .finetune_json import FieldError, Problem, Unreadable, named_field, read_entries
from .finetune_texts import dialogues, expressions
from .mask_parts import Code, picture_codes, video_codes


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
    """Checked records, and what is wrong with the others."""

    records: list[Record] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

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
        except FieldError as error:
            report.problems.append(Problem(number, _label(entry), error.field, str(error)))
    return report


def unreadable(record: Record) -> list[Problem]:
    """Decodes every frame of a record: the problems found, none where all is well."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            if record.of_pictures or not record.is_video:
                for path in record.paths:
                    load_image(path)
            else:
                for _ in open_visual(record.paths[0]).iterate():
                    pass
    except (ValueError, OSError, UserWarning) as error:
        return [Problem(record.number, record.paths[0], "video" if record.is_video else "image", str(error))]
    return []


def _label(entry: Any) -> str:
    """The file a raw record names, where it does."""
    value = entry.get("image", entry.get("video")) if isinstance(entry, dict) else None
    value = value[0] if isinstance(value, list) and value else value
    return value[:200] if isinstance(value, str) else ""


class _Checker:
    """Checks one record. Methods raise `ValueError` or `FileNotFoundError`: what is wrong and what would be right."""

    def __init__(self, number: int, root: Path) -> None:
        self.number = number
        self.root = root

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
            size, num_frames = self.measure(paths, is_video)
        texts, masks = expressions(entry)
        codes = []
        for index, mask in enumerate(masks):
            with named_field(f"mask {index}"):
                codes.append(video_codes(mask, size, num_frames) if is_video else picture_codes(mask, size))
        turns = dialogues(entry)
        if not texts and not turns:
            raise FieldError("record", "nothing to learn: neither text with mask, nor caption, nor conversations")
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


__all__ = ["Record", "Report", "check_file", "default_root", "unreadable"]
