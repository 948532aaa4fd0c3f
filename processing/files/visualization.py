"""Masks drawn on frames: coloured areas, outlines and labels.

In: a frame and the masks of its objects. Out: the frame with the masks on it, for looking at results (paper figures).
Colours depend on the number of the object alone, so an object keeps its colour over a video.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_GOLDEN_RATIO = 0.618033988749895


def object_colour(index: int) -> tuple[int, int, int]:
    """RGB colour of object `index`; neighbours in number are far apart in hue."""
    value = (1.0, 0.75)[index // 12 % 2]
    red, green, blue = colorsys.hsv_to_rgb((0.02 + index * _GOLDEN_RATIO) % 1.0, 0.85, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def _edge(mask: np.ndarray, width: int) -> np.ndarray:
    """Bool `(H, W)`: the pixels of a mask within `width` of its border; the frame's border counts."""
    inner = mask
    for _ in range(width):
        padded = np.pad(inner, 1)
        inner = inner & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
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
    drawn = frame.copy()
    width = max(1, round(min(frame.shape[:2]) / 240))
    for mask, number in zip(masks, object_ids, strict=True):
        if mask.shape != frame.shape[:2]:
            raise ValueError(f"mask of object {number} has shape {mask.shape}, the frame {frame.shape[:2]}")
        rows, columns = mask.any(axis=1).nonzero()[0], mask.any(axis=0).nonzero()[0]
        if not len(rows):
            continue
        # Only the box around the mask changes: on a large frame the rest would cost most of the time.
        window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        inside, colour = mask[window], np.array(object_colour(number), dtype=np.uint8)
        border = _edge(inside, width)
        for channel, blended in enumerate(_blending(colour, opacity)):
            plane = drawn[window][..., channel]
            np.copyto(plane, blended[plane], where=inside)
            plane[border] = colour[channel]
    image = Image.fromarray(drawn)
    for mask, number, label in zip(masks, object_ids, labels, strict=True):
        if label and mask.any():
            _write_label(image, label, mask, object_colour(number))
    return np.asarray(image).copy()


def _write_label(image: Image.Image, label: str, mask: np.ndarray, colour: tuple[int, int, int]) -> None:
    """Writes a label on a plate of the object's colour, inside the picture, above the top of its mask."""
    rows, columns = np.nonzero(mask)
    first = len(rows) // 100  # above a hundredth of the pixels: a stray speck must not carry the label away
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=max(10, round(min(image.size) / 32)))
    left, top, right, bottom = draw.textbbox((0, 0), label, font=font)
    width, height = right - left + 4, bottom - top + 4
    x = max(0, min(int(columns[first]) - width // 2, image.width - width))
    y = max(0, min(int(rows[first]) - height - 2, image.height - height))
    draw.rectangle((x, y, x + width, y + height), fill=colour)
    bright = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 140
    draw.text((x + 2 - left, y + 2 - top), label, font=font, fill=(0, 0, 0) if bright else (255, 255, 255))


__all__ = ["object_colour", "overlay_masks"]
