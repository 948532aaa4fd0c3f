"""Masks of annotation files: polygons and run-length codes of any spelling enter, checked compressed codes leave.

Rasterisation is that of pycocotools; parts are united, never added. (Paper section 4: RefCOCO-style supervision.)
"""

from __future__ import annotations

from typing import Any

from desa2va.processing.files import check_code, mask_area, polygon_code, unite_masks

POLYGON_MARGIN = 2.0  # pixels a vertex may lie outside: annotation tools round
MAX_OUTLINE = 4_000_000  # pixels along a polygon; rasterising takes a hundred bytes for each
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
    if not any(code is not None and mask_area(code) for code in codes):
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
    if all(_is_number(part) for part in parts):
        raise ValueError("a flat list of coordinates; a mask is a list of polygons: put the polygon into a list")
    united = unite_masks(
        [check_code(part, size) if isinstance(part, dict) else _polygon(part, size) for part in parts]
    )
    if not may_be_empty and not mask_area(united):
        raise ValueError("the mask holds no pixel; write null where there is no target")
    return united


def _polygon(polygon: Any, size: tuple[int, int]) -> Code:
    """A polygon's code."""
    if not isinstance(polygon, list) or not all(_is_number(value) for value in polygon):
        raise ValueError(f"a polygon is a flat list of numbers [x0, y0, x1, y1, ...], got {polygon!r:.60}")
    if len(polygon) < 6 or len(polygon) % 2:
        raise ValueError(f"a polygon needs three or more (x, y) pairs, got {len(polygon)} numbers")
    for name, values, side in (("x", polygon[::2], size[1]), ("y", polygon[1::2], size[0])):
        outside = next((value for value in values if not -POLYGON_MARGIN <= value <= side + POLYGON_MARGIN), None)
        if outside is not None:
            raise ValueError(
                f"polygon {name} {outside!r:.20} leaves the picture, which is {size[1]} x {size[0]} "
                "(width x height); the mask may belong to a picture of another size"
            )
    steps = zip(polygon, polygon[2:], strict=False)
    if len(polygon) * max(size) > MAX_OUTLINE and sum(abs(after - before) for before, after in steps) > MAX_OUTLINE:
        raise ValueError(
            f"a polygon whose outline is longer than {MAX_OUTLINE} pixels; give a run-length code instead"
        )
    return polygon_code(polygon, size)


def _is_number(value: Any) -> bool:
    """Whether a value of JSON is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


__all__ = ["Code", "picture_codes", "unite", "video_codes"]
