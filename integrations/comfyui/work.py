"""What the nodes do, in ComfyUI's forms: pictures float32 [B, H, W, C] in [0, 1], masks float32 [B, H, W].

Enters: pictures or frames, requests, clicks. Leaves: objects with a mask on every picture or frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

import desa2va


@dataclass(frozen=True)
class Click:
    """Where somebody clicked.

    Attributes:
        frame: from 0. x, y: pixels. inside: on the object, or beside it. number: of the object it is about.
    """

    frame: int
    x: float
    y: float
    inside: bool = True
    number: int = 0


@dataclass
class Found:
    """An object. `name`: its phrase. `masks`: bool [B, H, W]."""

    name: str
    masks: np.ndarray


@lru_cache(maxsize=1)
def load_model(name: str, dtype: str) -> tuple[Any, Any]:
    """Model and processor; kept until another one is asked for."""
    return desa2va.load(name, dtype=None if dtype == "auto" else dtype)


def pictures_of(images: torch.Tensor) -> list[np.ndarray]:
    """uint8 (H, W, 3) of each picture; an alpha channel is left out."""
    plain = images[..., :3].clamp(0, 1).mul(255).round().to(torch.uint8).cpu().numpy()
    return list(plain)


def requests_of(text: str) -> list[str]:
    """The lines of a text that say something."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def segment_pictures(
    loaded: tuple[Any, Any], images: torch.Tensor, text: str, step: Callable[[], None]
) -> tuple[list[Found], str]:
    """Every picture by itself. An object of one picture has an empty mask on the others.

    Args:
        loaded: of `load_model`. images: [B, H, W, C]. text: a request per line. step: called after each picture.

    Returns:
        The objects, picture by picture, and the answers.

    Raises:
        ValueError: nothing is asked.
    """
    model, processor = loaded
    requests = requests_of(text)
    if not requests:
        raise ValueError("text is empty; say what to segment, one request per line")
    found, told = [], []
    for place, picture in enumerate(pictures_of(images)):
        inputs = processor(images=picture, text=requests, task="segment")
        results = processor.post_process(model.generate(**inputs, max_new_tokens=128), inputs)
        for result in results:
            told.append(f"{place}: {result.request}: {result.text} [{result.status}] {result.reason}".strip())
            for entry in result.objects:
                masks = np.zeros(images.shape[:3], bool)
                masks[place] = entry.mask()
                found.append(Found(entry.phrase, masks))
        step()
    return found, "\n".join(told)


def segment_video(
    loaded: tuple[Any, Any], images: torch.Tensor, text: str, clicks: list[Click], step: Callable[[], None]
) -> tuple[list[Found], str]:
    """One video, objects by words and by clicks, followed through all frames.

    Arguments, answers and errors as `segment_pictures`; `clicks` of one number are about one object. Clicks of an
    object on further frames correct it there.
    """
    model, processor = loaded
    requests = requests_of(text)
    if not requests and not clicks:
        raise ValueError("nothing is asked: give text, or clicks")
    with desa2va.DeSa2VASession(model, processor, pictures_of(images)) as session:
        told = []
        for request in requests:
            numbers = session.add(text=request)
            said = session.last_answer
            told.append(f"{request}: {said.text} [{said.status}] {said.reason}".strip())
            told += [] if numbers else [f"{request}: nothing to follow"]
        _click(session, clicks)
        masks = {number: np.zeros(images.shape[:3], bool) for number in session.objects}
        if masks:
            for frame in session.propagate():
                for entry in frame.objects:
                    masks[entry.object_id][frame.frame] = entry.mask
                step()
        names = {number: entry.name or f"object {number}" for number, entry in session.objects.items()}
    return [Found(names[number], masks[number]) for number in masks], "\n".join(told)


def _click(session: Any, clicks: list[Click]) -> None:
    """Adds an object per number, on the first of its frames, and corrects it on the others."""
    for number in sorted({click.number for click in clicks}):
        own = [click for click in clicks if click.number == number]
        first, *further = sorted({click.frame for click in own})
        (added,) = session.add(points=_points(own, first), frame=first, name=f"click {number}")
        for frame in further:
            session.correct(added, frame, points=_points(own, frame))


def _points(clicks: list[Click], frame: int) -> list[list[float]]:
    return [[click.x, click.y, float(click.inside)] for click in clicks if click.frame == frame]


def as_mask(found: list[Found], shape: tuple[int, ...]) -> torch.Tensor:
    """The union of objects as a mask, float32 [B, H, W]."""
    union = np.zeros(shape, bool)
    for entry in found:
        union |= entry.masks
    return torch.from_numpy(union).float()


def pick(found: list[Found], number: int, name: str) -> list[Found]:
    """The objects whose name holds `name`; of these the one of a number, or all for -1.

    Raises:
        ValueError: there is no such object.
    """
    named = [entry for entry in found if name.strip().lower() in entry.name.lower()]
    if number < 0 and (named or not found):
        return named
    if not 0 <= number < len(named):
        names = ", ".join(entry.name for entry in found) or "none"
        raise ValueError(f"there is no object {number} with {name!r} in its name; there are: {names}")
    return [named[number]]


__all__ = ["Click", "Found", "as_mask", "load_model", "pick", "segment_pictures", "segment_video"]
