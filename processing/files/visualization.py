"""Masks drawn on frames: coloured areas, outlines and labels.

In: a frame and the masks of its objects. Out: the frame with the masks on it, for looking at results (paper figures).
Colours depend on the number of the object alone, so an object keeps its colour over a video.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .mask_codec import mask_places

_FILLED = 4  # a mask of more than this part of its box is blended as fast with all of the box
_GOLDEN_RATIO = 0.618033988749895


def object_colour(index: int) -> tuple[int, int, int]:
    """RGB colour of object `index`; neighbours in number are far apart in hue."""
    value = (1.0, 0.75)[index // 12 % 2]
    red, green, blue = colorsys.hsv_to_rgb((0.02 + index * _GOLDEN_RATIO) % 1.0, 0.85, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def _edge(mask: np.ndarray, width: int) -> np.ndarray:
    """Bool `(H, W)`: the pixels of a mask within `width` of its border; the frame's border counts."""
    padded = np.zeros_like(mask, shape=(mask.shape[0] + 2, mask.shape[1] + 2))  # rows or columns first, as the mask is
    inner = padded[1:-1, 1:-1]
    inner[...] = mask
    for _ in range(width):
        kept = inner & padded[:-2, 1:-1]
        for neighbour in (padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]):
            kept &= neighbour
        inner[...] = kept
    return mask & ~inner


def _blending(colour: np.ndarray, opacity: float) -> np.ndarray:
    """Uint8 `(3, 256)`: what each value of each channel becomes under a colour; looked up, not computed per pixel."""
    values = np.arange(256)[None]
    return np.rint((1 - opacity) * values + opacity * colour[:, None].astype(np.float32)).astype(np.uint8)


def overlay_masks(
    frame: np.ndarray,
    masks: Sequence[np.ndarray],
    labels: Sequence[str] | None = None,
    opacity: float = 0.45,
    object_ids: Sequence[int] | None = None,
) -> np.ndarray:
    """Draws masks on a frame.

    Args:
        frame: uint8 `(H, W, 3)`; not changed.
        masks: bool `(H, W)` of each object; an empty one draws nothing.
        labels: written at the top of each mask; empty strings write nothing.
        opacity: of the coloured areas, in [0, 1]; outlines are opaque.
        object_ids: number of each object, which decides its colour; 0, 1, ... by default.

    Returns:
        uint8 `(H, W, 3)`.

    Raises:
        ValueError: a mask of another size than the frame, or lists of different lengths.
    """
    labels = [""] * len(masks) if labels is None else labels
    object_ids = range(len(masks)) if object_ids is None else object_ids
    if not len(masks) == len(labels) == len(object_ids):
        raise ValueError(f"{len(masks)} masks, {len(labels)} labels, {len(object_ids)} numbers; they must agree")
    drawn = np.array(frame, order="C")
    tops = []
    for mask, number in zip(masks, object_ids, strict=True):
        if mask.shape != frame.shape[:2]:
            raise ValueError(f"mask of object {number} has shape {mask.shape}, the frame {frame.shape[:2]}")
        places = mask_places(mask)
        tops.append(_top(places, mask.shape[1]))
        if len(places):
            _colour(drawn, mask, places, object_colour(number), opacity)
    for top, number, label in zip(tops, object_ids, labels, strict=True):
        if label and top is not None:
            _write_label(drawn, label, top, object_colour(number))
    return drawn


def _colour(
    drawn: np.ndarray, mask: np.ndarray, places: np.ndarray, colour: tuple[int, int, int], opacity: float
) -> None:
    """Blends the pixels of a mask, `places` in the picture read row by row, with a colour; outlines are the colour."""
    rows, columns = mask.any(axis=1).nonzero()[0], mask.any(axis=0).nonzero()[0]
    # Only the box around the mask has a border: on a large frame the rest would cost most of the time.
    window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    inside, values, width = mask[window], drawn.reshape(-1), columns[-1] + 1 - columns[0]
    border = mask_places(_edge(inside, max(1, round(min(mask.shape) / 240))))
    border = 3 * ((border // width + rows[0]) * mask.shape[1] + border % width + columns[0])
    filled = _FILLED * len(places) > inside.size
    inside, places = np.ascontiguousarray(inside) if filled else inside, 3 * places
    for channel, blended in enumerate(_blending(np.array(colour, dtype=np.uint8), opacity)):
        if filled:
            plane = drawn[window][..., channel]
            np.copyto(plane, blended.take(plane), where=inside)
        else:
            values[places + channel] = blended.take(values.take(places + channel))
        values[border + channel] = colour[channel]


def _top(places: np.ndarray, width: int) -> tuple[int, int] | None:
    """Row and column of the pixel that a hundredth of a mask's pixels lie above, `None` without any pixel.

    A stray speck must not carry the label away.
    """
    if not len(places):
        return None
    first = len(places) // 100
    row, column = divmod(int(np.partition(places, first)[first]), width)
    return row, column


@lru_cache(maxsize=16)
def _font(size: int) -> Any:
    return ImageFont.load_default(size=size)


def _write_label(drawn: np.ndarray, label: str, top: tuple[int, int], colour: tuple[int, int, int]) -> None:
    """Writes a label on a plate of the object's colour, inside the picture, above `top`."""
    rows, columns = drawn.shape[:2]
    font = _font(max(10, round(min(rows, columns) / 32)))
    left, upper, right, lower = ImageDraw.Draw(Image.new("RGB", (1, 1))).textbbox((0, 0), label, font=font)
    width, height = right - left + 4, lower - upper + 4
    x = int(max(0, min(top[1] - width // 2, columns - width)))
    y = int(max(0, min(top[0] - height - 2, rows - height)))
    # The plate alone becomes a picture of Pillow's and comes back: the whole frame would cost as much as its masks.
    plate = drawn[y : int(y + height) + 1, x : int(x + width) + 1]
    image = Image.fromarray(np.ascontiguousarray(plate))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, width, height), fill=colour)
    bright = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 140
    draw.text((2 - left, 2 - upper), label, font=font, fill=(0, 0, 0) if bright else (255, 255, 255))
    plate[...] = np.asarray(image)


__all__ = ["object_colour", "overlay_masks"]
