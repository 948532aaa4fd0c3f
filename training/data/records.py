"""What every annotation file becomes: a visual by its file names, and what is said about it, masks as codes.

A reader (`readers/`) yields `Record`s; `RecordDataset` turns one into a `Sample`. Training and evaluation read through
the same readers. Nothing here is decoded: a record of a thousand frames is a few kilobytes. (Paper section 4.)
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from desa2va.processing.files import Code, decode_mask, mask_area
from desa2va.processing.inputs import IMAGE_EXTENSIONS

from .sample import SEG, Conversation
from .wording import SINGLE_ANSWER, bare_phrase, no_target_answer, segment_request

_LONGEST = 500  # characters of a message


class RecordError(ValueError):
    """What is wrong with one record.

    A reader yields it in the record's place and goes on, or raises it where it can not go on.

    Args:
        record: file and row, e.g. `"refs(unc).p, row 17 (COCO_train2014_000000000009.jpg)"`.
        field: what of it is wrong, e.g. `"mask 0"`; its first word groups the problems of `desa2va data check`.
        message: what, and what would be right.
    """

    def __init__(self, record: str, field: str, message: str) -> None:
        super().__init__(record, field, message)
        self.record, self.field, self.message = record, field, message

    def __str__(self) -> str:
        line = " ".join(f"{self.record}, {self.field}: {self.message}".split())
        line = line if len(line) <= _LONGEST else f"{line[:_LONGEST]} ..."
        return line.encode("utf-8", "backslashreplace").decode("utf-8")


@dataclass(frozen=True)
class Target:
    """One object, or several that one `[SEG]` stands for.

    Attributes:
        label: the phrase the text branch reads alone, e.g. `"small red circle"`.
        codes: for every frame of the record a compressed COCO code `{"size": [h, w], "counts": str}`, or `None` where
            nothing of it is seen. (Frames that nobody labelled are no frames of a record.)
        ignored: likewise the pixels that scores leave out (value 255 of ReasonSeg and DAVIS); training does not look
            at it. Empty: none.
    """

    label: str
    codes: tuple[Code | None, ...]
    ignored: tuple[Code | None, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether no frame shows a pixel of it."""
        return not any(code is not None and mask_area(code) for code in self.codes)


@dataclass(frozen=True)
class Dialogue:
    """One conversation about a visual.

    Attributes:
        kind: what is asked: `"target"`, `"no_target"`, `"several"`, `"gcg"`, `"region"`, `"chat"`, ...; groups scores.
            `"unlabelled"`, `"unlabelled_choice"`: the answer is not public, it is empty and there is no target;
            nothing to train on.
        turns: `(user, assistant)` pairs; every `[SEG]` of an answer stands for a target, in order.
        targets: one per `[SEG]`.
        regions: codes of visual prompts on the first frame: region `k` is what the text calls `<region{k + 1}>`.
        group: alternatives: of the dialogues of one group a sample takes one (the sentences of one object, say).
        ids: what an evaluation needs to name it: `ref_id`, `sent_id`, `exp_id`, `ann_id`, `type`, ...

    Raises:
        ValueError: another number of targets than of `[SEG]`.
    """

    kind: str
    turns: tuple[tuple[str, str], ...]
    targets: tuple[Target, ...] = ()
    regions: tuple[Code, ...] = ()
    group: int | None = None
    ids: Mapping[str, str | int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        num_seg = sum(answer.count(SEG) for _, answer in self.turns)
        if num_seg != len(self.targets):
            raise ValueError(f"{num_seg} [SEG] in the answers but {len(self.targets)} targets: {self.turns!r:.200}")


@dataclass(frozen=True)
class Record:
    """One visual and its dialogues.

    Attributes:
        name: unique within its set; what errors call it.
        paths: absolute names of the picture, of the frame pictures, or of one video file (or folder of frames); none
            for text alone.
        is_video: whether it is a video; a picture has one frame.
        size: (height, width) in pixels; (0, 0) for text alone.
        num_frames: frames that targets count; 0 for text alone.
        dialogues: at least one.
        source: the file or data set it comes from, named in errors.
        fps: frames per second, where the files do not say it and something else does.
        licence: where recorded.
        stride: frame `t` of the record is frame `t * stride` of the video file (Ref-SAV labels every fourth).
        media: contents of the files where they come from cells of a table; `paths` are then names alone.

    Raises:
        ValueError: no dialogue, or a target with another number of codes than the record has frames.
    """

    name: str
    paths: tuple[str, ...]
    is_video: bool
    size: tuple[int, int]
    num_frames: int
    dialogues: tuple[Dialogue, ...]
    source: str
    fps: float | None = None
    licence: str | None = None
    stride: int = 1
    media: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if not self.dialogues:
            raise ValueError(f"{self.name}: nothing to learn, a record needs a dialogue")
        for dialogue in self.dialogues:
            for target in dialogue.targets:
                for codes in (target.codes, target.ignored or target.codes):
                    if len(codes) != self.num_frames:
                        raise ValueError(
                            f"{self.name}: target {target.label!r:.80} has {len(codes)} codes for "
                            f"{self.num_frames} frames"
                        )

    @property
    def of_pictures(self) -> bool:
        """Whether every frame is a picture file of its own."""
        return bool(self.paths) and (not self.is_video or all(map(is_picture_name, self.paths)))

    def masks(self, dialogue: Dialogue, frames: list[int] | None = None) -> np.ndarray:
        """Bool `(O, T, H, W)` of a dialogue's targets on these frames, on all by default."""
        frames = list(range(self.num_frames)) if frames is None else frames
        masks = np.zeros((len(dialogue.targets), len(frames), *self.size), bool)
        for own, target in zip(masks, dialogue.targets, strict=True):
            for row, frame in enumerate(frames):
                if target.codes[frame] is not None:
                    own[row] = decode_mask(target.codes[frame])
        return masks

    def conversation(self, dialogue: Dialogue, frames: list[int] | None = None) -> Conversation:
        """A dialogue with its masks on these frames, as the collator takes it."""
        labels = tuple(target.label for target in dialogue.targets)
        regions = np.stack([decode_mask(code) for code in dialogue.regions]) if dialogue.regions else None
        return Conversation(dialogue.turns, self.masks(dialogue, frames), labels, dialogue.kind, regions)


def expression_dialogue(
    text: str,
    codes: tuple[Code | None, ...] | None,
    group: int | None = None,
    ids: Mapping[str, str | int] | None = None,
    ignored: tuple[Code | None, ...] = (),
) -> Dialogue:
    """An expression with what it refers to, worded as `task="segment"` words it at inference.

    Args:
        text: e.g. `"the dog on the left"`. codes: one per frame; `None`: nothing fits, the answer says so.
        group, ids: of the `Dialogue`; its `ids` also hold the expression as `text`. ignored: of its `Target`.
    """
    request, ids = segment_request(text), {"text": text, **(ids or {})}
    if codes is None:
        return Dialogue("no_target", ((request, no_target_answer(text)),), group=group, ids=ids)
    target = Target(bare_phrase(text), codes, ignored)
    return Dialogue("target", ((request, SINGLE_ANSWER),), (target,), group=group, ids=ids)


def inside(root: str | os.PathLike, name: str) -> str:
    """The absolute name of the file `name` under a root.

    Raises:
        ValueError: the name leads out of the root. FileNotFoundError: there is no such file.
    """
    root = Path(os.path.abspath(root))
    path = os.path.normpath(root / name)
    if not Path(path).is_relative_to(root):
        raise ValueError(f"file name {name!r} leads out of {root}; name files relative to it")
    if not os.path.exists(path):
        raise FileNotFoundError(f"no file {path}")
    return path


def is_picture_name(path: str) -> bool:
    """Whether a name is that of a picture file; a GIF may be either, as a frame it is rare."""
    return Path(path).suffix.lower() in set(IMAGE_EXTENSIONS) - {".gif"}


__all__ = [
    "Code",
    "Dialogue",
    "RecordError",
    "Record",
    "Target",
    "expression_dialogue",
    "inside",
    "is_picture_name",
]
