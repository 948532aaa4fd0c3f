"""A describer that measures in place of a model: colour, place, size and movement, from pixels and masks alone.

The same ask always gets the same words, and what it says of RefShapes can be compared with the truth. For tests, and
to try a run before a model is paid for. (Engineering; no paper section.)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from desa2va.training.data.refshapes import COLORS

from .asks import Ask

NAMED = {**COLORS, "black": (20, 20, 20), "gray": (128, 128, 128)}
STILL = 0.04  # of a frame's sides; less is no movement
ENOUGH_SEEN = 0.3  # of its largest area: of what is hidden further the middle is elsewhere
_COLOR = re.compile(rf"\b({'|'.join(NAMED)})\b")
_MOTION = re.compile(r"it (moves [a-z ]+|stays where it is)")
_ROWS, _COLUMNS = ("upper", "middle", "lower"), ("left", "middle", "right")


class MeasuringDescriber:
    """See the module; `identity` has no more to tell than its version."""

    identity: dict[str, Any] = {"kind": "measured", "name": "measured", "version": 1}

    def answers(self, asks: Sequence[Ask]) -> Iterator[dict[int, str]]:
        """All at once."""
        yield {place: _STEPS[ask.step](ask) for place, ask in enumerate(asks)}

    def spent(self) -> tuple[int, int]:
        """Nothing."""
        return 0, 0


def color_name(pixels: np.ndarray) -> str:
    """The nearest of `NAMED` to the mean of uint8 `(N, 3)` pixels."""
    mean = pixels.astype(float).mean(axis=0)
    return min(NAMED, key=lambda name: float(np.square(mean - NAMED[name]).sum()))


def place_name(mask: np.ndarray) -> str:
    """Which ninth of the picture holds the middle of a bool `(H, W)` mask, e.g. `"upper left"`."""
    row, column = (int(3 * middle) for middle in _middle(mask))
    return "middle" if row == column == 1 else f"{_ROWS[row]} {_COLUMNS[column]}"


def movement(masks: Sequence[np.ndarray]) -> str:
    """How the object gets from the first frame to the last one that show enough of it, e.g. `"moves to the left"`."""
    areas = [int(mask.sum()) for mask in masks]
    seen = [mask for mask, area in zip(masks, areas, strict=True) if area >= ENOUGH_SEEN * max(areas)]
    down, right = (after - before for before, after in zip(_middle(seen[0]), _middle(seen[-1]), strict=True))
    if max(abs(down), abs(right)) < STILL:
        return "stays where it is"
    words = []
    if abs(down) * 2 > abs(right):
        words.append("down" if down > 0 else "up")
    if abs(right) * 2 > abs(down):
        words.append("to the right" if right > 0 else "to the left")
    return f"moves {' and '.join(words)}"


def _middle(mask: np.ndarray) -> tuple[float, float]:
    """Mean row and column of a mask's pixels, in [0, 1)."""
    rows, columns = np.nonzero(mask)
    return float(rows.mean()) / mask.shape[0], float(columns.mean()) / mask.shape[1]


def _color(ask: Ask) -> str:
    return color_name(ask.pictures[0][ask.masks[0]])


def _check(ask: Ask) -> str:
    """Both name the same colours, or one of them none."""
    first, second = (set(_COLOR.findall(ask.said[step])) for step in ("crop", "blanked"))
    return "yes" if first == second or not first or not second else "no"


def _scene(ask: Ask) -> str:
    share = round(100 * float(ask.masks[0].mean()))
    size = f"covers {share} percent of it" if share else "covers less than one percent of it"
    return f"The {_color(ask)} object is in the {place_name(ask.masks[0])} of the picture and {size}."


def _short(ask: Ask) -> str:
    color, motion = _COLOR.search(ask.said["video"]), _MOTION.search(ask.said["video"])
    return " ".join(filter(None, ("the", color and color[1], "object", motion and f"that {motion[1]}")))


_STEPS: dict[str, Callable[[Ask], str]] = {
    "crop": lambda ask: f"The object in the middle is {_color(ask)}.",
    "blanked": lambda ask: f"A {_color(ask)} object.",
    "check": _check,
    "scene": _scene,
    "video": lambda ask: f"{ask.said['scene']} In the course of the video it {movement(ask.masks)}.",
    "short": _short,
}

__all__ = ["MeasuringDescriber", "color_name", "movement", "place_name"]
