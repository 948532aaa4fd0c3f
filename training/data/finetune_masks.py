"""Masks of the fine-tune JSON: polygons and run-length codes of any spelling enter, checked compressed codes leave.

Rasterisation is that of pycocotools; parts are united, never added. (Paper section 4: RefCOCO-style supervision.)
"""

from __future__ import annotations

import math
from typing import Any

from pycocotools import mask as coco_mask

POLYGON_MARGIN = 2.0  # pixels a vertex may lie outside: annotation tools round
Code = dict[str, Any]


def picture_codes(mask: Any, size: tuple[int, int]) -> tuple[Code | None, ...] | None:
    """The mask of a picture as one run-length code, `None` for null.

    Args:
        mask: null, a code, or a list of polygons and codes.
        size: (height, width) of the picture.

    Raises:
        ValueError: anything else, or a mask without a pixel.
    """
    return None if mask is None else (unite(mask, size),)


def video_codes(mask: Any, size: tuple[int, int], num_frames: int) -> tuple[Code | None, ...] | None:
    """The mask of a video as one run-length code or `None` per frame; `None` for null.

    Raises:
        ValueError: another number of frames, or no frame with a pixel.
    """
    if mask is None:
        return None
    if not isinstance(mask, list) or len(mask) != num_frames:
        given = f"{len(mask)} entries" if isinstance(mask, list) else type(mask).__name__
        raise ValueError(f"a video of {num_frames} frames needs a list of {num_frames} masks or nulls, got {given}")
    codes = []
    for frame, part in enumerate(mask):
        try:
            codes.append(None if part is None else unite(part, size, may_be_empty=True))
        except ValueError as error:
            raise ValueError(f"frame {frame}: {error}") from error
    if not any(code is not None and coco_mask.area(code) for code in codes):
        raise ValueError("no frame shows the object; write null in place of the list where there is no target")
    return tuple(codes)


def unite(mask: Any, size: tuple[int, int], may_be_empty: bool = False) -> Code:
    """One run-length code of a code or of a list of polygons and codes.

    Raises:
        ValueError: a code of another size or that does not add up, a degenerate polygon, or no pixel at all.
    """
    parts = [mask] if isinstance(mask, dict) else mask
    if not isinstance(parts, list) or not parts:
        raise ValueError(f"expected a run-length code or a list of polygons, or null for no target; got {mask!r:.60}")
    if all(isinstance(part, int | float) for part in parts):
        raise ValueError("a flat list of coordinates; a mask is a list of polygons: put the polygon into a list")
    codes = [_code(part, size) if isinstance(part, dict) else _polygon(part, size) for part in parts]
    united = coco_mask.merge(codes)
    if not may_be_empty and not coco_mask.area(united):
        raise ValueError("the mask holds no pixel; write null where there is no target")
    return united


def _code(code: dict[str, Any], size: tuple[int, int]) -> Code:
    """A run-length code of either kind, compressed."""
    height_width, counts = code.get("size"), code.get("counts")
    if height_width is None or counts is None:
        raise ValueError(f"a run-length code has 'size' and 'counts', got the keys {sorted(code)}")
    if list(height_width) != list(size):
        raise ValueError(f"the code is {list(height_width)} but the picture is {list(size)} (height, width)")
    try:
        if isinstance(counts, list):
            if sum(counts) != size[0] * size[1] or min(counts) < 0:
                raise ValueError(f"the counts add up to {sum(counts)}, not to {size[0]} x {size[1]} pixels")
            return coco_mask.frPyObjects({"size": list(size), "counts": counts}, *size)
        compressed = {"size": list(size), "counts": counts.encode("ascii")}
        coco_mask.decode(compressed)
    except (AttributeError, TypeError, UnicodeEncodeError) as error:
        raise ValueError(f"counts that are no run-length code ({error})") from error
    return compressed


def _polygon(polygon: Any, size: tuple[int, int]) -> Code:
    """A polygon, rasterised as pycocotools does."""
    if not isinstance(polygon, list) or not all(isinstance(value, int | float) for value in polygon):
        raise ValueError(f"a polygon is a flat list of numbers [x0, y0, x1, y1, ...], got {polygon!r:.60}")
    if len(polygon) < 6 or len(polygon) % 2:
        raise ValueError(f"a polygon needs three or more (x, y) pairs, got {len(polygon)} numbers")
    for name, values, side in (("x", polygon[::2], size[1]), ("y", polygon[1::2], size[0])):
        low, high = min(values), max(values)
        if not math.isfinite(sum(values)) or low < -POLYGON_MARGIN or high > side + POLYGON_MARGIN:
            raise ValueError(
                f"polygon {name} from {low:g} to {high:g} leaves the picture, which is {size[1]} x {size[0]} "
                "(width x height); the mask may belong to a picture of another size"
            )
    return coco_mask.merge(coco_mask.frPyObjects([[float(value) for value in polygon]], *size))


__all__ = ["Code", "picture_codes", "unite", "video_codes"]
