"""Videos with expressions: the file that MeViS, ReVOS, Ref-SAV, Refer-YouTube-VOS and Ref-DAVIS17 share.

Enters: `{"videos": {name: {"frames": [...], "expressions": {id: {"exp": ..., ...}}}}}`, a folder of frames, and
whatever holds the masks. Leaves: one `Record` per video, one dialogue per expression.

* Frames without annotation are left out of a record, so that a code of `None` always means: not to be seen there.
* Expressions of the same objects are alternatives (one `group`).
* Where no masks are public, a dialogue is of kind `"unlabelled"`: a request, an empty answer, no target.
* `ids` hold `video`, `exp_id`, the published words `exp`, the words asked for `text` (blanks squeezed, in training in
  lower case), and what of `obj_id`, `anno_id`, `type` there is.

(Paper section 4: referring video segmentation data.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from desa2va.processing.inputs import image_size
from desa2va.training.data.records import Code, Dialogue, Record, RecordError, expression_dialogue, inside
from desa2va.training.data.wording import segment_request

from .annotation_files import read_file

_IDS = {"obj_id": "obj_id", "anno_id": "anno_id", "type_id": "type", "annotator": "annotator"}
Codes = tuple[Code | None, ...]
Size = tuple[int, int]


@dataclass(frozen=True)
class Clip:
    """One video of an expression file.

    Attributes:
        name: may hold slashes. where: file and video, for errors. frames: names without suffix, sorted.
        expressions: `(exp_id, entry)`, sorted by the id as text: the order in which pickled masks are numbered.
        first: number of its first expression, counted over the videos of the file in sorted order.
    """

    name: str
    where: str
    frames: tuple[str, ...]
    expressions: tuple[tuple[str, Mapping[str, Any]], ...]
    first: int


class Labels:
    """The masks of one video: which of its frames are annotated, and what an expression's objects cover there.

    Args:
        codes: from an expression's number among those of the file and its entry to one code per annotated frame;
            `None` for no target. Raises `ValueError` where that cannot be told.
        frames: numbers of the annotated ones; all by default.
        ignored: pixels that scores leave out, per annotated frame; none by default.
    """

    def __init__(
        self,
        codes: Callable[[int, Mapping[str, Any]], Codes | None],
        frames: Sequence[int] | None = None,
        ignored: Codes = (),
    ) -> None:
        self.codes, self.frames, self.ignored = codes, frames, ignored


def read_clips(path: Path) -> dict[str, Clip | RecordError]:
    """The videos of an expression file by name, in sorted order; a `RecordError` in the place of a wrong one.

    Raises:
        FileNotFoundError: no such file. ValueError: no JSON, or of another shape.
    """
    content = read_file(path)
    videos = content.get("videos") if isinstance(content, dict) else None
    if not isinstance(videos, dict):
        raise ValueError(f'{path}: expected {{"videos": {{name: {{"frames", "expressions"}}}}}}')
    clips: dict[str, Clip | RecordError] = {}
    first = 0
    for name in sorted(videos):
        where = f"{path}, video {name}"
        try:
            clips[name] = clip = _clip(name, where, videos[name], first)
            first += len(clip.expressions)
        except ValueError as error:
            clips[name] = RecordError(where, "video", str(error))
    return clips


def _clip(name: str, where: str, video: Any, first: int) -> Clip:
    if isinstance(video, dict) and "objects" in video and "expressions" not in video:
        raise ValueError("expressions below objects are an older release without expression ids; get the current one")
    frames, said = (video.get(key) if isinstance(video, dict) else None for key in ("frames", "expressions"))
    if not isinstance(frames, list) or not frames or not all(isinstance(frame, str) for frame in frames):
        raise ValueError("'frames' must be a list of names of one frame or more")
    if not isinstance(said, dict):
        raise ValueError("'expressions' must be an object of expressions by id")
    return Clip(name, where, tuple(sorted(frames)), tuple(sorted(said.items())), first)


def clip_records(
    clips: Iterable[Clip | RecordError],
    pictures: Sequence[Path],
    labels: Callable[[Clip, Size], Labels] | None,
    *,
    source: str,
    licence: str | None = None,
    base_fps: float | None = None,
    lower: bool = False,
) -> Iterator[Record | RecordError]:
    """Records of videos whose frames are JPEG files.

    Args:
        clips: those of `read_clips`. pictures: folders of the videos' folders; the first that has a video's is taken.
        labels: the masks of a clip whose frames have this (height, width), or `None` where none are public.
        source, licence: of the records. base_fps: rate of which frame names count the frames, where it is known.
        lower: whether statements are set in lower case, as the reference loaders do in training.
    """
    for clip in clips:
        if isinstance(clip, RecordError):
            yield clip
            continue
        try:
            paths = _frame_paths(clip, pictures)
            size = image_size(paths[0])
            known = labels(clip, size) if labels else None
        except (ValueError, OSError) as error:
            yield RecordError(clip.where, "video", str(error))
            continue
        dialogues = yield from _dialogues(clip, known, lower)
        kept = range(len(paths)) if known is None or known.frames is None else known.frames
        if dialogues and kept:
            yield Record(
                name=clip.name,
                paths=tuple(paths[frame] for frame in kept),
                is_video=True,
                size=size,
                num_frames=len(kept),
                dialogues=tuple(dialogues),
                source=source,
                fps=frame_rate(clip.frames, base_fps),
                licence=licence,
            )


def _frame_paths(clip: Clip, pictures: Sequence[Path]) -> list[str]:
    folder = next((folder for folder in pictures if (folder / clip.name).is_dir()), pictures[0])
    return [inside(folder, f"{clip.name}/{frame}.jpg") for frame in clip.frames]


def _dialogues(clip: Clip, labels: Labels | None, lower: bool) -> Iterator[RecordError]:
    """Yields what is wrong with expressions, returns the dialogues of the others."""
    dialogues: list[Dialogue] = []
    groups: dict[str | tuple[str, ...], int] = {}
    for place, (exp_id, entry) in enumerate(clip.expressions):
        try:
            text = " ".join(_words(entry).split())
            ids = {"video": clip.name, "exp_id": exp_id, "exp": entry["exp"], **_ids(entry)}
            text = text.lower() if lower and not text.endswith("?") else text
            if labels is None:
                dialogues.append(Dialogue("unlabelled", ((segment_request(text), ""),), ids={"text": text, **ids}))
                continue
            codes = labels.codes(clip.first + place, entry)
        except ValueError as error:
            yield RecordError(clip.where, f"expression {exp_id}", str(error))
            continue
        group = None if codes is None else groups.setdefault(_objects(entry) or exp_id, len(groups))
        dialogues.append(expression_dialogue(text, codes, group, ids, labels.ignored))
    return dialogues


def _objects(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """What identifies the objects of an expression within its video."""
    named = entry.get("anno_id", entry.get("obj_id", []))
    return tuple(sorted(map(str, named if isinstance(named, list) else [named])))


def _words(entry: Any) -> str:
    words = entry.get("exp") if isinstance(entry, dict) else None
    if not isinstance(words, str) or not words.strip():
        raise ValueError("needs its words under 'exp'")
    return words


def _ids(entry: Mapping[str, Any]) -> dict[str, str | int]:
    """Ids of an entry; a list of them as one text, `"3,5"`."""
    ids = {}
    for key, name in _IDS.items():
        value = entry.get(key)
        if isinstance(value, list):
            ids[name] = ",".join(map(str, value))
        elif isinstance(value, str | int):
            ids[name] = value
    return ids


def frame_rate(frames: Sequence[str], base_fps: float | None) -> float | None:
    """Frames per second of frames whose names count those of a video of `base_fps`: every fifth of 30 is 6."""
    if base_fps is None or not all(frame.isdecimal() for frame in frames):
        return None
    numbers = sorted(set(map(int, frames)))
    steps = [after - before for before, after in zip(numbers, numbers[1:], strict=False)]
    return base_fps / min(steps, default=1)


__all__ = [
    "Clip",
    "Codes",
    "Labels",
    "Size",
    "clip_records",
    "frame_rate",
    "read_clips",
]
