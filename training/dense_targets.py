"""Exact dense ground truth of generated scenes: which colour, shape and size every cell of a grid shows.

Enters: `Sample.scene` (instance map and factors). Leaves: index tensors, 0 for background. Only phase 0 reads them.
"""

from __future__ import annotations

import numpy as np
import torch

from desa2va.training.data.sample import Sample

from .data.refshapes import COLOR_NAMES, MOTIONS, SHAPES, SIZES

FACTORS = (("color", COLOR_NAMES), ("shape", SHAPES), ("size", SIZES))
MOTION_NAMES = tuple(MOTIONS)
TOUCHED = 16.0  # an object that covers 1 / 17 of an image token's cell has it
NUM_CLASSES = tuple(len(values) + 1 for _, values in FACTORS)
NUM_PRESENCE = len(COLOR_NAMES) + len(SHAPES) + len(COLOR_NAMES) * len(SHAPES)


def factor_indices(item: dict) -> tuple[int, int, int]:
    """Colour, shape and size of one scene object, counted from 0."""
    return tuple(values.index(item[name]) for name, values in FACTORS)


def factor_table(sample: Sample) -> np.ndarray:
    """(3, 1 + objects): class of each factor by instance id; column 0 is background."""
    columns = [(0, 0, 0)] + [tuple(1 + index for index in factor_indices(item)) for item in sample.scene["objects"]]
    return np.array(columns, dtype=np.int64).T


def cell_instances(instance_map: np.ndarray, grid: int, foreground_weight: float = 2.0) -> np.ndarray:
    """(T, H, W) ids -> (T, grid, grid): the id that covers most of a cell, objects counted `foreground_weight`
    times.
    """
    frames, height, width = instance_map.shape
    blocks = instance_map.reshape(frames, grid, height // grid, grid, width // grid).swapaxes(2, 3)
    blocks = blocks.reshape(frames, grid, grid, -1)
    counts = np.stack([(blocks == k).sum(-1) for k in range(int(instance_map.max()) + 1)], axis=-1).astype(np.float32)
    counts[..., 1:] *= foreground_weight
    return counts.argmax(-1)


def centre_instances(instance_map: np.ndarray, grid: int) -> np.ndarray:
    """(T, H, W) ids -> (T, grid, grid): the id at every cell's centre."""
    step = instance_map.shape[-1] // grid
    return instance_map[:, step // 2 :: step, step // 2 :: step]


def factor_maps(samples: list[Sample], grid: int, majority: bool) -> torch.Tensor:
    """(3, F, grid, grid) long: colour, shape, size of every cell of all frames, 0 for background."""
    maps = []
    for sample in samples:
        pick = cell_instances if majority else centre_instances
        maps.append(factor_table(sample)[:, pick(sample.scene["instance_map"], grid)])
    return torch.from_numpy(np.concatenate(maps, axis=1))


def token_presence(samples: list[Sample], grid: int) -> torch.Tensor:
    """(F, (grid / 2) ** 2, NUM_PRESENCE): which colours, shapes and pairs the four cells behind each image token
    show.
    """
    rows = []
    for sample in samples:
        cells = factor_table(sample)[:, cell_instances(sample.scene["instance_map"], grid)]
        frames, half = cells.shape[1], grid // 2
        cells = cells.reshape(3, frames, half, 2, half, 2).swapaxes(3, 4).reshape(3, frames, half * half, 4)
        color, shape = cells[0] - 1, cells[1] - 1
        target = np.zeros((frames, half * half, NUM_PRESENCE), np.float32)
        frame, token, cell = np.nonzero(color >= 0)
        c, s = color[frame, token, cell], shape[frame, token, cell]
        target[frame, token, c] = 1
        target[frame, token, len(COLOR_NAMES) + s] = 1
        target[frame, token, len(COLOR_NAMES) + len(SHAPES) + c * len(SHAPES) + s] = 1
        rows.append(target)
    return torch.from_numpy(np.concatenate(rows))


def motion_maps(samples: list[Sample], grid: int) -> torch.Tensor:
    """(F, grid, grid) long: which of `MOTION_NAMES` the object of a cell follows.

    -1 on the background, for objects at rest, and on the first frame that shows the object: nothing moved yet.
    """
    maps = []
    for sample in samples:
        items = sample.scene["objects"]
        motions = [-1, *(MOTION_NAMES.index(item["motion"]) if item["motion"] else -1 for item in items)]
        first = np.array([0, *(item["first_frame"] for item in items)])
        ids = cell_instances(sample.scene["instance_map"], grid, TOUCHED)
        late = first[ids] < np.arange(len(ids))[:, None, None]
        maps.append(np.where(late, np.array(motions)[ids], -1))
    return torch.from_numpy(np.concatenate(maps))


__all__ = [
    "FACTORS",
    "MOTION_NAMES",
    "NUM_CLASSES",
    "NUM_PRESENCE",
    "factor_indices",
    "factor_maps",
    "factor_table",
    "motion_maps",
    "token_presence",
]
