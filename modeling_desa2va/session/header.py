"""The JSON part of a session file, typed and checked before anything is built from it (METHOD section 6, Inter-VOS).

Enters: what a file holds, from anywhere. Leaves: a `SessionHeader` whose numbers belong to each other and to the video
that is given, or one `ValueError` that names the field.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from desa2va.processing.files import read_dataclass
from desa2va.processing.inputs import parse_prompts

from .store import GivenPrompt

FORMAT, VERSION = "desa2va-session", 2  # 2: logits in float32, as they were decoded
NUM_THUMBNAILS, THUMBNAIL_SIDE = 3, 8
MAX_OBJECT_FRAMES = 2**27  # four bytes each are kept in memory


@dataclass
class VideoEntry:
    """What a session file says of its video; `thumbnails` are grey levels, row by row."""

    name: str
    height: int
    width: int
    num_frames: int
    thumbnails: list[list[int]]


@dataclass
class ObjectEntry:
    """What it says of an object: see `ObjectState`; `records` are pairs of frame and number of the record."""

    object_id: int
    name: str | None
    seg_probability: float
    forward: int | None
    backward: int | None
    edited: int
    since: int
    records: list[tuple[int, int]]
    prompts: list[tuple[int, GivenPrompt]]
    forced: bool = False  # earlier files do not say
    denied: list[tuple[int, float]] = field(default_factory=list)  # nor this

    def score_on(self, frame: int, recorded: float) -> float:
        """The object score that is reported on a frame whose record has `recorded`."""
        return dict(self.denied).get(frame, recorded)


@dataclass
class SessionHeader:
    """The whole; `segmenter` is the sum of its weights, `next_id` the number of the next object."""

    format: str
    version: int
    segmenter: str
    video: VideoEntry
    next_id: int
    objects: list[ObjectEntry]


def read_header(data: Any) -> SessionHeader:
    """The JSON part of a session file.

    Raises:
        ValueError: another format or version, or a field of another type; the message says which.
    """
    if not isinstance(data, dict):
        raise ValueError(f"its header must be an object, got {type(data).__name__}")
    if (data.get("format"), data.get("version")) != (FORMAT, VERSION):
        found = f"format {data.get('format')!r:.40} version {data.get('version')!r:.40}"
        raise ValueError(f"it has {found}; this package reads {FORMAT!r} version {VERSION}")
    header = read_dataclass(SessionHeader, data, "the header")
    levels = header.video.thumbnails
    fits = len(levels) == NUM_THUMBNAILS and all(len(level) == THUMBNAIL_SIDE**2 for level in levels)
    if not fits or not all(0 <= grey <= 255 for level in levels for grey in level):
        raise ValueError(f"its thumbnails are not {NUM_THUMBNAILS} times {THUMBNAIL_SIDE**2} grey levels")
    return header


def check_objects(header: SessionHeader, num_records: int, side: int | None) -> None:
    """Raises `ValueError` where objects, records and prompts do not belong to each other or to the video.

    Args:
        header: of a file whose video has been compared with the one given.
        num_records: records in the file.
        side: of SAM-2's input, for masks that were given; `None` where no model is at hand that would read them.
    """
    numbers = [entry.object_id for entry in header.objects]
    if len(set(numbers)) != len(numbers) or not all(0 <= number < header.next_id for number in numbers):
        raise ValueError(f"the object numbers {str(numbers):.80} are not unique, or not below {header.next_id}")
    if len(numbers) * header.video.num_frames > MAX_OBJECT_FRAMES:
        raise ValueError(f"{len(numbers)} objects on {header.video.num_frames} frames are more than can be kept")
    used = [number for entry in header.objects for _, number in entry.records]
    if sorted(used) != list(range(num_records)):
        raise ValueError(f"its {num_records} records are not used once each")
    for entry in header.objects:
        try:
            _check_object(entry, header.video, num_records, side)
        except ValueError as error:
            raise ValueError(f"object {entry.object_id}: {error}") from error


def _check_object(entry: ObjectEntry, video: VideoEntry, num_records: int, side: int | None) -> None:
    if not 0 <= entry.seg_probability <= 1:
        raise ValueError(f"the probability {entry.seg_probability:g} is not in [0, 1]")
    recorded, prompted = [frame for frame, _ in entry.records], [frame for frame, _ in entry.prompts]
    denied = [frame for frame, _ in entry.denied]
    if not all(math.isfinite(score) for _, score in entry.denied):
        raise ValueError("denied holds a score that is not finite")
    for name, frames in (("records", recorded), ("prompts", prompted), ("denied", denied)):
        if len(set(frames)) != len(frames) or not all(0 <= frame < video.num_frames for frame in frames):
            raise ValueError(f"{name} name frames twice, or outside 0 to {video.num_frames - 1}")
    waiting = [frame for frame in (entry.forward, entry.backward) if frame is not None]
    if not all(0 <= frame < video.num_frames for frame in waiting) or not 0 <= entry.since <= num_records:
        raise ValueError("forward, backward or since lie outside the video")
    if not prompted or entry.edited not in prompted or not set(prompted) <= set(recorded):
        raise ValueError("prompts, records and the edited frame do not belong to each other")
    for frame, given in entry.prompts:
        _check_prompt(given, frame, video, side)


def _check_prompt(given: GivenPrompt, frame: int, video: VideoEntry, side: int | None) -> None:
    if given.mask is not None:
        if given.points or given.box is not None or given.mask["size"] != [side or given.mask["size"][0]] * 2:
            raise ValueError(f"frame {frame}: a mask of {given.mask['size']}, or clicks beside it, for {side} pixels")
        return
    points, size = [list(point) for point in given.points], (video.height, video.width)
    if not parse_prompts(points or None, given.box, None, size, f"frame {frame}"):
        raise ValueError(f"frame {frame}: a prompt without mask, points and box")


__all__ = ["FORMAT", "THUMBNAIL_SIDE", "VERSION", "ObjectEntry", "SessionHeader", "check_objects", "read_header"]
