"""RefShapes, part two: a scene and a generator enter, uint8 RGB frames leave (see `scene.py`)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .scene import COLORS, PANEL, REFERENCE_SIZE, Scene

GREY_SHARE = 0.55
NOISE = (3.0, 14.0)


def paint(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """Paint every frame on one background, with fresh pixel noise in each.

    Args:
        scene: the scene.
        rng: continues the generator that drew it.

    Returns:
        uint8 `(T, H, W, 3)`.
    """
    num_frames, size, _ = scene.label_map.shape
    palette = np.zeros((256, 3), np.float32)
    for index, item in enumerate(scene.objects):
        jittered = np.array(COLORS[item.color]) * rng.uniform(0.85, 1.05) + rng.normal(0, 6, 3)
        palette[index + 1] = np.clip(jittered, 0, 255)
    palette[PANEL] = rng.uniform(60, 150)
    behind = background(rng, size)
    noise = np.float32(rng.uniform(*NOISE))
    frames = np.empty((num_frames, size, size, 3), np.uint8)
    for frame, labels in enumerate(scene.label_map):
        image = np.where(labels[..., None] > 0, palette[labels], behind)
        image += noise * rng.standard_normal(image.shape, dtype=np.float32)
        frames[frame] = np.clip(image, 0, 255)
    return frames


def background(rng: np.random.Generator, size: int) -> np.ndarray:
    """A gradient, stripes, a checker board or a cloud between two greyish colours; float32 `(H, W, 3)`."""
    first = rng.uniform(30, 200, 3)
    pair = np.stack([first, first + rng.uniform(-60, 60, 3)])
    pair = (GREY_SHARE * pair.mean(-1, keepdims=True) + (1 - GREY_SHARE) * pair).astype(np.float32)
    kind, angle = int(rng.integers(4)), rng.uniform(0, 2 * np.pi)
    axis = np.arange(size, dtype=np.float32) * (REFERENCE_SIZE / size)
    along = np.float32(np.cos(angle)) * axis[None, :] + np.float32(np.sin(angle)) * axis[:, None]
    if kind == 0:
        mix = along / REFERENCE_SIZE
    elif kind == 1:
        mix = 0.5 + 0.5 * np.sin(along * np.float32(rng.uniform(0.1, 0.5)))
    elif kind == 2:
        cell = axis // int(rng.integers(6, 20))
        mix = (cell[None, :] + cell[:, None]) % 2
    else:
        weights = _interpolation(size)
        mix = weights @ rng.random((9, 9), dtype=np.float32) @ weights.T
    return pair[0] + (pair[1] - pair[0]) * mix[..., None]


@lru_cache(maxsize=8)
def _interpolation(size: int) -> np.ndarray:
    """Linear interpolation from 9 knots to `size` pixels: float32 `(size, 9)`."""
    position = np.linspace(0, 7.999, size)
    left = position.astype(int)
    weights = np.zeros((size, 9), np.float32)
    weights[np.arange(size), left] = 1 - (position - left)
    weights[np.arange(size), left + 1] = position - left
    return weights


__all__ = ["background", "paint"]
