"""Masks as text: bool masks enter, COCO run-length codes and polygons leave, and back. All codes are exact.

Rasterisation is that of pycocotools, the only one whose pixels agree with the public data sets.
"""

from __future__ import annotations

import numpy as np

from desa2va.processing.files import decode_mask, encode_mask


def mask_to_polygons(mask: np.ndarray) -> list[list[float]]:
    """A mask as polygons along its pixel edges, which pycocotools rasterises to the very mask.

    The mask is cut where a column's runs split or merge, so that every piece is a simple polygon without holes.

    Args:
        mask: bool `(H, W)`.

    Returns:
        Flat lists `[x0, y0, x1, y1, ...]` in pixels; empty for an empty mask.
    """
    finished: list[tuple[int, list[tuple[int, int]]]] = []
    growing: list[tuple[int, list[tuple[int, int]]]] = []
    for column in range(mask.shape[1] + 1):
        runs = _runs(mask[:, column]) if column < mask.shape[1] else []
        following = []
        for start, piece in growing:
            touching = [run for run in runs if _overlap(run, piece[-1])]
            alone = len(touching) == 1 and sum(_overlap(touching[0], other[-1]) for _, other in growing) == 1
            if alone:
                runs.remove(touching[0])
                following.append((start, [*piece, touching[0]]))
            else:
                finished.append((start, piece))
        growing = following + [(column, [run]) for run in runs]
    return [_outline(start, piece) for start, piece in sorted(finished)]


def _runs(column: np.ndarray) -> list[tuple[int, int]]:
    """Stretches `[top, bottom)` of a bool column."""
    edges = np.flatnonzero(np.diff(column.astype(np.int8), prepend=0, append=0)).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))


def _overlap(first: tuple[int, int], second: tuple[int, int]) -> bool:
    return first[0] < second[1] and second[0] < first[1]


def _outline(start: int, piece: list[tuple[int, int]]) -> list[float]:
    """The upper edge from left to right, then the lower edge back; points only where an edge turns."""
    upper = _staircase(start, [top for top, _ in piece])
    lower = _staircase(start, [bottom for _, bottom in piece])
    return [float(value) for point in (*upper, *reversed(lower)) for value in point]


def _staircase(start: int, heights: list[int]) -> list[tuple[int, int]]:
    """Corners `(x, y)` of a line that runs at `heights[k]` over column `start + k`."""
    corners = [(start, heights[0])]
    for x, (before, after) in enumerate(zip(heights[:-1], heights[1:], strict=True), start + 1):
        if before != after:
            corners += [(x, before), (x, after)]
    return [*corners, (start + len(heights), heights[-1])]


__all__ = ["decode_mask", "encode_mask", "mask_to_polygons"]
