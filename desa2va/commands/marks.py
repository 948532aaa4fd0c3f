"""Points, boxes and masks of the command line: which objects are meant, shown instead of or beside words.

What enters: `--point`, `--box`, `--mask`, each as often as there are objects. What leaves: the arguments of the
processor that mark them.
"""

from __future__ import annotations

import argparse
import math
from typing import Any

NAMES = {"points": "--point", "boxes": "--box", "masks": "--mask"}


def add_mark_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--point`, `--box` and `--mask`."""
    group = parser.add_argument_group(
        "marked objects", "each may be given several times, once for every object; of a video on its first key frame"
    )
    group.add_argument(
        "--point",
        dest="points",
        action="append",
        type=_clicks,
        metavar="X,Y",
        help="a pixel on the object; several clicks on one object: '60,60 30,80,0', where the third number 0 stands "
        "for beside it",
    )
    group.add_argument("--box", dest="boxes", action="append", type=_box, metavar="X0,Y0,X1,Y1", help="around it")
    group.add_argument(
        "--mask",
        dest="masks",
        action="append",
        metavar="FILE",
        help="a picture of the input's size that is not black where the object is; of a PNG of object numbers, such "
        "as segment writes, every value but 0 is an object",
    )


def given_marks(args: argparse.Namespace) -> dict[str, Any]:
    """Return the marks as the processor takes them; empty without any.

    Raises:
        FileNotFoundError: There is no such mask.
        ValueError: A mask that is no picture, or marks nothing.
    """
    marks = {name: getattr(args, name) for name in NAMES if getattr(args, name)}
    if "masks" in marks:
        marks["masks"] = [mask for path in marks["masks"] for mask in _masks(path)]
    return marks


def _clicks(text: str) -> list[list[float]]:
    """Return the clicks on one object, each x, y, label."""
    clicks = [_numbers(word) for word in text.split()]
    if not clicks or not all(click is not None and len(click) in (2, 3) for click in clicks):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no point X,Y in pixels, such as 60,60")
    return [[*click, 1.0][:3] for click in clicks]


def _box(text: str) -> list[float]:
    numbers = _numbers(text)
    if numbers is None or len(numbers) != 4:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no box X0,Y0,X1,Y1 in pixels, such as 4,36,58,90")
    return numbers


def _numbers(text: str) -> list[float] | None:
    try:
        numbers = [float(word) for word in text.split(",")]
    except ValueError:
        return None
    return numbers if all(map(math.isfinite, numbers)) else None


def _masks(path: str) -> list[Any]:
    """Return the masks of a file, bool (H, W) each."""
    import numpy as np
    from PIL import Image

    from desa2va.processing.inputs import load_image

    colours = load_image(path, "--mask")
    with Image.open(path) as picture:
        values = np.asarray(picture) if picture.mode in ("P", "I;16") else colours.any(axis=-1).astype(np.uint8)
    if not values.any():
        raise ValueError(f"--mask {path} marks nothing: every pixel is 0")
    return [values == value for value in np.unique(values) if value]


__all__ = ["NAMES", "add_mark_arguments", "given_marks"]
