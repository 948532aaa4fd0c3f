"""F of DAVIS at 480p: ours against the definition written straightforwardly with scikit-image.

Run as `python -m benchmarks.boundary_speed`. Enters: nothing. Leaves: milliseconds of CPU per frame of both, their
ratio and the largest difference of their scores, for an object of a tenth of the picture, for one that fills it and
for noise. Where scikit-image is not installed, scipy's dilation takes its place.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import numpy as np

from desa2va.eval.metrics.boundary import boundary_accuracy, boundary_map, boundary_radius

try:
    from skimage.morphology import dilation as binary_dilation
except ImportError:
    from scipy.ndimage import binary_dilation

SIZE, TURNS = (480, 854), 3


def straightforward(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """F of every frame over the whole picture: bool `(T, H, W)` to float64 `(T,)`."""
    radius = boundary_radius(*truth.shape[1:])
    rows, columns = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disk, scores = rows**2 + columns**2 <= radius**2, []
    for found, real in zip(prediction, truth, strict=True):
        found, real = boundary_map(found), boundary_map(real)
        if not found.any() or not real.any():
            scores.append(float(found.any() == real.any()))
            continue
        precision = np.sum(found & binary_dilation(real, disk)) / found.sum()
        recall = np.sum(real & binary_dilation(found, disk)) / real.sum()
        scores.append(2 * precision * recall / (precision + recall) if precision + recall else 0.0)
    return np.asarray(scores)


def clips(frames: int, size: tuple[int, int]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Predicted and true masks, bool `(T, H, W)`, of three kinds."""
    rows, columns = np.mgrid[: size[0], : size[1]] / np.reshape(size, (2, 1, 1))
    disk = (rows - 0.5) ** 2 + (columns - 0.5) ** 2 < 0.1 / np.pi
    full = np.ones(size, bool)
    full[:: size[0] // 8] = False
    shifted = {
        name: np.stack([np.roll(mask, t, axis=1) for t in range(frames + 3)])
        for name, mask in (("tenth", disk), ("full", full & (columns > 0.01)))
    }
    pairs = {name: (masks[3:], masks[:frames]) for name, masks in shifted.items()}
    return {**pairs, "noise": tuple(np.random.default_rng(0).random((2, frames, *size)) < 0.5)}


def compare(frames: int = 4, size: tuple[int, int] = SIZE) -> dict[str, dict[str, float]]:
    """Per kind of mask `ours_ms`, `straightforward_ms`, `ratio`, `difference`."""
    report = {}
    for name, pair in clips(frames, size).items():
        ours, mine = _timed(boundary_accuracy, pair)
        plain, theirs = _timed(straightforward, pair)
        figures = {"ours_ms": ours / frames, "straightforward_ms": plain / frames, "ratio": plain / ours}
        report[name] = {**figures, "difference": float(np.abs(mine - theirs).max())}
    return report


def _timed(score: Callable[..., np.ndarray], pair: tuple[np.ndarray, np.ndarray]) -> tuple[float, np.ndarray]:
    """Least milliseconds of CPU of some turns, and the scores."""
    spent = []
    for _ in range(TURNS):
        start = time.process_time()
        scores = score(*pair)
        spent.append(1000 * (time.process_time() - start))
    return min(spent), scores


if __name__ == "__main__":
    print(json.dumps(compare(), indent=2))
