"""Polygons filled as OpenCV's `polylines` and `fillPoly` fill them, pixel for pixel.

ReasonSeg's ground truth is defined by these two calls (closed outline of thickness 1, then the fill), and pycocotools
colours other pixels along the edges. OpenCV is no dependency of this package, so its rule is told here: the outline is
Bresenham's line between whole pixels, clipped to the picture; the fill takes in every row the pixels between every
other crossing, with crossings in 16.16 fixed point. (Paper section 4: reasoning segmentation.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_SHIFT = 16
_ONE = 1 << _SHIFT
_HALF = _ONE >> 1
Point = tuple[int, int]
Edge = tuple[int, int, int, int]  # first row, row behind the last, x at the first row and its step per row (16.16)


def fill_polygon(points: Sequence[Sequence[float]], size: tuple[int, int]) -> np.ndarray:
    """A closed polygon as a bool `(H, W)` mask, its outline included.

    Args:
        points: `(x, y)` in pixels, cut to whole numbers towards zero as a cast to int32 does; one or more, also
            outside of the picture.
        size: (height, width).
    """
    corners = [(int(x), int(y)) for x, y in points]
    mask = np.zeros(size, bool)
    edges = []
    for start, end in zip([corners[-1], *corners[:-1]], corners, strict=True):
        clipped = _clip(start, end, size)
        if clipped is not None:
            _draw_line(mask, *clipped)
        if start[1] != end[1]:
            edges.append(_edge(start, end, size))
    if len(edges) > 1:
        mask |= _fill(edges, size)
    return mask


def _clip(start: Point, end: Point, size: tuple[int, int]) -> tuple[Point, Point] | None:
    """The part of a line within the picture, ends on whole pixels; `None` where it has none."""
    bottom, right = size[0] - 1, size[1] - 1
    (x1, y1), (x2, y2) = start, end

    def side(x: int, y: int) -> int:
        return (x < 0) + 2 * (x > right) + 4 * (y < 0) + 8 * (y > bottom)

    first, second = side(x1, y1), side(x2, y2)
    if not first & second and first | second:
        if first & 12:
            row = 0 if first < 8 else bottom
            x1, y1 = x1 + int((row - y1) * (x2 - x1) / (y2 - y1)), row
            first = side(x1, y1) & 3
        if second & 12:
            row = 0 if second < 8 else bottom
            x2, y2 = x2 + int((row - y2) * (x2 - x1) / (y2 - y1)), row
            second = side(x2, y2) & 3
        if not first & second and first | second:
            if first:
                column = 0 if first == 1 else right
                x1, y1 = column, y1 + int((column - x1) * (y2 - y1) / (x2 - x1))
                first = 0
            if second:
                column = 0 if second == 1 else right
                x2, y2 = column, y2 + int((column - x2) * (y2 - y1) / (x2 - x1))
                second = 0
    return ((x1, y1), (x2, y2)) if not first | second else None


def _draw_line(mask: np.ndarray, start: Point, end: Point) -> None:
    """Bresenham's line with steps to eight neighbours, from the left end to the right one."""
    (x1, y1), (x2, y2) = (start, end) if start[0] <= end[0] else (end, start)
    width, height, down = x2 - x1, abs(y2 - y1), 1 if y2 >= y1 else -1
    long, short = max(width, height), min(width, height)
    steps = np.arange(long + 1)
    sideways = -((long - 2 * short * steps) // (2 * long)) if long else steps
    along_x, along_y = (steps, sideways) if width >= height else (sideways, steps)
    mask[y1 + down * along_y, x1 + along_x] = True


def _edge(start: Point, end: Point, size: tuple[int, int]) -> Edge:
    """An edge of the fill. Where it leaves the picture its slope is that of the clipped line."""
    (x1, y1), (x2, y2) = start, end
    fixed = [(x1 << _SHIFT) + _HALF, y1, (x2 << _SHIFT) + _HALF, y2]
    inside = all(0 <= x < size[1] and 0 <= y < size[0] for x, y in (start, end))
    if not inside:
        fixed = [x1 << _SHIFT, y1, x2 << _SHIFT, y2]
        (a1, b1), (a2, b2) = _clip(start, end, size) or (start, end)
        if b1 != b2:
            fixed = [a1 << _SHIFT, b1, a2 << _SHIFT, b2]
    fx1, fy1, fx2, fy2 = fixed
    step = int((fx2 - fx1) / (fy2 - fy1))
    if y1 < y2:
        return y1, y2, fx1 + (y1 - fy1) * step, step
    return y2, y1, fx2 + (y2 - fy2) * step, step


def _fill(edges: list[Edge], size: tuple[int, int]) -> np.ndarray:
    """The pixels between the first and the second crossing of a row, the third and the fourth, and so on."""
    rows = np.concatenate([np.arange(first, behind) for first, behind, _, _ in edges])
    columns = np.concatenate([x + np.arange(behind - first) * step for first, behind, x, step in edges])
    order = np.lexsort((columns, rows))
    rows, columns = rows[order], columns[order] >> _SHIFT
    left, right, rows = columns[::2], columns[1::2], rows[::2]
    seen = (rows >= 0) & (rows < size[0]) & (left < size[1]) & (right >= 0)
    rows, left, right = rows[seen], left[seen].clip(0), right[seen].clip(max=size[1] - 1)
    changes = np.zeros((size[0], size[1] + 1), np.int32)
    np.add.at(changes, (rows, left), 1)
    np.add.at(changes, (rows, right + 1), -1)
    return changes.cumsum(1)[:, :-1] > 0


__all__ = ["fill_polygon"]
