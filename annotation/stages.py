"""The stages of Ref-SAV's pipeline, as steps of one ask each: which pictures and words, and what of an answer is kept.

A masklet and what was said of it enter, the next ask leaves; an answer enters, the text that is kept or the reason for
dropping the masklet leaves. (Sa2VA, section 3.3: stage 1 is `crop`, `blanked` and `check`, stage 2 `scene`, stage 3
`video`. `short` is ours: Ref-SAV's short expressions for training came with no description.)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import numpy as np

from desa2va.processing.files import decode_mask
from desa2va.training.data.record_media import read_frames
from desa2va.training.data.records import Record

from .asks import Ask
from .frames import blanked, crop_slices, largest_frame, outlined, spread_frames
from .masklets import Masklet
from .prompts import PLACEHOLDERS, Prompt

STEPS = tuple(PLACEHOLDERS)
VERDICTS = ("yes", "no")
LAST_NEEDED = "video"  # a masklet without a short expression is complete all the same
MAX_WORDS = {"short": 25}
MOST_WORDS = 400
_CONTROL = re.compile(r"<[|/]?[A-Za-z_]+[|]?>|\[SEG\]")
_REFUSAL = re.compile(r"(i'?m sorry|i am sorry|sorry,|as an ai\b|i (cannot|can't|can not) (help|describe|see))", re.I)


def frames_of(step: str, masklet: Masklet) -> list[int]:
    """The frames of the clip that a step shows."""
    if step == "video":
        return spread_frames(masklet.codes)
    return [largest_frame(masklet.codes)] if step in _VIEWS else []


def make_ask(step: str, prompt: Prompt, record: Record, masklet: Masklet, said: Mapping[str, str]) -> Ask:
    """The ask of a step.

    Args:
        step: one of `STEPS`. prompt: its words. record: the frames. masklet: the object. said: earlier answers.

    Raises:
        ValueError, OSError: a frame can not be read.
    """
    frames = frames_of(step, masklet)
    pictures: tuple[np.ndarray, ...] = ()
    masks: tuple[np.ndarray, ...] = ()
    if frames:
        codes = [masklet.codes[frame] for frame in frames]
        drawn = [np.zeros(record.size, bool) if code is None else decode_mask(code) for code in codes]
        shown = [_VIEWS[step](*pair) for pair in zip(read_frames(record, frames), drawn, strict=True)]
        pictures, masks = (tuple(part) for part in zip(*shown, strict=True))
    choices = VERDICTS if step == "check" else ()
    return Ask(masklet.key, step, prompt.filled(said), pictures, masks, dict(said), choices)


def _cropped(frame: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    place = crop_slices(mask)
    return frame[place], mask[place]


_VIEWS: dict[str, Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]] = {
    "crop": _cropped,
    "blanked": lambda frame, mask: (blanked(frame, mask), mask),
    "scene": lambda frame, mask: (frame, mask),
    "video": lambda frame, mask: (outlined(frame, mask), mask),
}


def judged(step: str, answer: str) -> tuple[str, str | None]:
    """What is kept of an answer, and why the masklet is dropped (`None`: it goes on)."""
    text = " ".join(answer.split())
    if step == "check":
        first = re.match(r"\W*(\w+)", text)
        verdict = first[1].lower() if first else ""
        if verdict not in VERDICTS:
            return text, f"no verdict, but {text!r:.60}"
        return verdict, None if verdict == "yes" else "the two descriptions contradict each other"
    return text, _unusable(step, text)


def _unusable(step: str, text: str) -> str | None:
    words = len(text.split())
    most = MAX_WORDS.get(step, MOST_WORDS)
    if not re.search(r"[^\W\d_]{2}", text):
        return f"no words, but {text!r:.60}"
    if _CONTROL.search(text):
        return f"holds a control token: {_CONTROL.search(text)[0]!r}"
    if _REFUSAL.match(text):
        return f"a refusal: {text!r:.60}"
    return f"too long: {words} words, more than {most}" if words > most else None


__all__ = ["LAST_NEEDED", "STEPS", "VERDICTS", "frames_of", "judged", "make_ask"]
