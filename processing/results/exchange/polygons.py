"""Masks as polygons that lose nothing.

In: a bool mask. Out: its outlines along the edges of its pixels. Corners are whole numbers: pixel (x, y) is the square
from (x, y) to (x + 1, y + 1). Who fills the rings by the even-odd rule and asks at the middles of pixels has the mask
back. (Engineering; no paper section.)
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def mask_rings(mask: np.ndarray) -> list[np.ndarray]:
    """Outlines of a mask.

    Args:
        mask: bool `(H, W)`.

    Returns:
        int32 `(n, 2)` corners (x, y) in pixels for each ring, not closed, in the order of their topmost, leftmost
        corners. Around the outside of a part a ring runs clockwise as seen on the screen, around a hole the other way,
        so that `ring_area` is negative. Pixels that share a corner only are two parts.
    """
    edges = _edges(np.pad(mask, 1))
    left = dict(edges)
    rings = []
    for key in sorted(edges, key=lambda key: (key[1], key[0], not key[2])):
        ring = []
        while key in left:
            (x, y, horizontal, direction), place = key, left.pop(key)
            ring.append((x, y))
            # Where two parts touch at a corner there are two ways on: the turn to the right stays on this part.
            right = direction if horizontal else -direction
            key = (*place, not horizontal, right)
            key = key if key in edges else (*place, not horizontal, -right)
        if ring:
            rings.append(np.array(ring, np.int32))
    return rings


def _edges(padded: np.ndarray) -> dict[tuple[int, int, bool, int], tuple[int, int]]:
    """Straight pieces of the outlines: corner (x, y), whether horizontal, direction 1 or -1 -> corner at the end.

    With the mask on the right hand: along its upper edges to the right, along its right edges down, and back.
    """
    edges = {}
    upper, lower, before, behind = padded[:-1], padded[1:], padded[:, :-1], padded[:, 1:]
    for horizontal, forwards, edge in (
        (True, True, lower & ~upper),
        (True, False, upper & ~lower),
        (False, True, (before & ~behind).T),
        (False, False, (behind & ~before).T),
    ):
        for line, *ends in _runs(edge):
            first, last = ends if forwards else reversed(ends)
            begin, finish = ((first, line), (last, line)) if horizontal else ((line, first), (line, last))
            edges[(*begin, horizontal, 1 if forwards else -1)] = finish
    return edges


def _runs(edge: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Line, start and end of every stretch of true values of a bool `(lines, n)` array of padded places, unpadded."""
    steps = np.diff(np.pad(edge, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    lines, starts = np.nonzero(steps == 1)
    ends = np.nonzero(steps == -1)[1]
    return zip(lines.tolist(), (starts - 1).tolist(), (ends - 1).tolist(), strict=True)


def ring_area(ring: np.ndarray) -> float:
    """Signed area of a ring in pixels: positive around a part, negative around a hole."""
    x, y = ring.astype(np.float64).T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


def joined_rings(rings: list[np.ndarray]) -> np.ndarray:
    """All rings as one polygon int32 `(n, 2)`, for formats that know no holes and no parts.

    Each further ring hangs on its nearest corner by a bridge without width, walked to and fro, which the even-odd rule
    does not see.
    """
    from scipy.spatial import cKDTree

    joined = rings[0]
    for ring in rings[1:]:
        distances, places = cKDTree(joined).query(ring)
        here = int(distances.argmin())
        there = int(places[here])
        tour = np.concatenate([ring[here:], ring[: here + 1]])
        joined = np.concatenate([joined[: there + 1], tour, joined[there:]])
    return joined


__all__ = ["joined_rings", "mask_rings", "ring_area"]
