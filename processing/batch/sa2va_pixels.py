"""Pixels as Sa2VA's published models were trained on: resized with Pillow, Qwen's pictures twice.

In: RGB frames `(H, W, 3)` uint8. Out: uint8 frames of the size the network reads; normalisation is left to the stock
image processors, whose fields say which mean and deviation. An image processor asks for these rules with the field
`pixel_rule: "sa2va"`; without it a frame is resized by the stock processor, up to 32 of 255 steps away.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

PIXEL_RULE = "sa2va"
# The first of Qwen's two resizes: multiples of 28 whatever the patch size, between 4 and 16,384 tokens of 28 x 28.
_FACTOR, _LEAST, _MOST = 28, 4 * 28 * 28, 16384 * 28 * 28


def follows_sa2va(image_processor: Any) -> bool:
    """Whether an image processor asks for these rules."""
    return getattr(image_processor, "pixel_rule", None) == PIXEL_RULE


def resize(frame: np.ndarray, height: int, width: int) -> np.ndarray:
    """A frame uint8 `(H, W, 3)` resized by Pillow's bicubic filter, which looks at a wider area when it shrinks.

    Columns first, then rows, each of which ends in bytes: Pillow's order before version 13, which Sa2VA was trained
    with. From 13 on Pillow takes the rows first for some shapes, up to 21 of 255 away on noise.
    """
    columns = Image.fromarray(frame).resize((width, frame.shape[0]), Image.Resampling.BICUBIC)
    return np.array(columns.resize((width, height), Image.Resampling.BICUBIC))


def tile_grid(height: int, width: int, max_tiles: int, side: int) -> tuple[int, int]:
    """Columns and rows of tiles whose aspect ratio is nearest to the picture's.

    Of equally near grids the larger is taken where the picture has more than half of its pixels.

    Args:
        height, width: of the picture. max_tiles: most tiles. side: of a tile, pixels.
    """
    grids = sorted(
        ((columns, rows) for columns in range(1, max_tiles + 1) for rows in range(1, max_tiles + 1)),
        key=lambda grid: grid[0] * grid[1],
    )
    best, nearest, ratio = (1, 1), math.inf, width / height
    for columns, rows in grids:
        if columns * rows > max_tiles:
            break
        distance = abs(ratio - columns / rows)
        larger = height * width > 0.5 * side * side * columns * rows
        if distance < nearest or (distance == nearest and larger):
            best, nearest = (columns, rows), distance
    return best


def tiles(frame: np.ndarray, max_tiles: int, side: int) -> np.ndarray:
    """Tiles of a picture, row by row, and its thumbnail where there are several: uint8 `(n, side, side, 3)`."""
    columns, rows = tile_grid(*frame.shape[:2], max_tiles, side)
    whole = resize(frame, rows * side, columns * side)
    cut = whole.reshape(rows, side, columns, side, 3).transpose(0, 2, 1, 3, 4).reshape(-1, side, side, 3)
    return cut if len(cut) == 1 else np.concatenate([cut, resize(frame, side, side)[None]])


def normalised(frames: np.ndarray, image_processor: Any) -> torch.Tensor:
    """Frames uint8 `(n, h, w, 3)` to float32 `(n, 3, h, w)` with the mean and deviation of an image processor."""
    mean, deviation = (torch.tensor(values).view(-1, 1, 1) for values in _moments(image_processor))
    return (torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255 - mean) / deviation


def device_normalised(frames: torch.Tensor, image_processor: Any) -> torch.Tensor:
    """Frames uint8 `(n, 3, H, W)` on any device, resized to the square of an image processor and `normalised`."""
    side = image_processor.size["height"]
    resized = frames.float()
    for size in ((frames.shape[-2], side), (side, side)):  # the two passes of `resize`
        resized = F.interpolate(resized, size, mode="bicubic", antialias=True).round().clamp(0, 255)
    mean, deviation = (frames.new_tensor(values, dtype=torch.float32) for values in _moments(image_processor))
    return (resized / 255 - mean.view(-1, 1, 1)) / deviation.view(-1, 1, 1)


def _moments(image_processor: Any) -> tuple[list[float], list[float]]:
    return list(image_processor.image_mean), list(image_processor.image_std)


def first_resize(frame: np.ndarray) -> np.ndarray:
    """Qwen-VL's first resize, to multiples of 28 pixels; the stock processor makes the second."""
    height, width = frame.shape[:2]
    size = [max(_FACTOR, round(length / _FACTOR) * _FACTOR) for length in (height, width)]
    if size[0] * size[1] > _MOST:
        shrink = math.sqrt(height * width / _MOST)
        size = [max(_FACTOR, math.floor(length / shrink / _FACTOR) * _FACTOR) for length in (height, width)]
    elif size[0] * size[1] < _LEAST:
        grow = math.sqrt(_LEAST / (height * width))
        size = [math.ceil(length * grow / _FACTOR) * _FACTOR for length in (height, width)]
    return resize(frame, *size)


__all__ = [
    "PIXEL_RULE",
    "device_normalised",
    "first_resize",
    "follows_sa2va",
    "normalised",
    "resize",
    "tile_grid",
    "tiles",
]
