"""Masks at source resolution, kept small: logits resized once, thresholded, run-length encoded.

In: low-resolution mask logits of SAM-2 `(T, h, w)`. Out: one COCO run-length code per frame, which is exact and makes
a long video fit in memory; boxes and areas are read from the code. METHOD section 6 (masks at source resolution).

Codes that come from a file go through `check_code` first: pycocotools reads past the end of a code that does not fill
its picture, and never returns from uniting it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch.nn import functional as F

_CHUNK_PIXELS = 32 * 1024 * 1024
_MAX_PIXELS = 2**30  # of one mask: a gigabyte once decoded
_MAX_CHARACTERS = 7  # of one count in text: five bits each, so that no sum below overflows 64 bits


SAM_STRIDE = 4  # SAM-2's input is four times as large as its mask logits


def resize_logits(logits: torch.Tensor, size: tuple[int, int], two_step: bool = False) -> torch.Tensor:
    """Low-resolution logits `(n, h, w)` to source size `(n, H, W)` float32, bilinear, `align_corners=False`.

    SAM-2 sees the picture stretched to a square, so the square of logits covers exactly the picture. `two_step`: over
    SAM-2's input size, as Sa2VA does.
    """
    resized = logits.float()[:, None]
    sizes = [(SAM_STRIDE * logits.shape[-2], SAM_STRIDE * logits.shape[-1]), size] if two_step else [size]
    for target in sizes:
        resized = F.interpolate(resized, size=target, mode="bilinear", align_corners=False)
    return resized[:, 0]


def above(values: torch.Tensor, threshold: float) -> np.ndarray:
    """Bool of the same shape, on the CPU: `values > threshold`."""
    # On a CPU numpy compares three times as fast as torch; from elsewhere the smaller array travels.
    return values.detach().numpy() > threshold if values.device.type == "cpu" else (values > threshold).cpu().numpy()


def encode_mask(mask: np.ndarray) -> dict[str, Any]:
    """COCO code of a bool `(H, W)` mask: `{"size": [H, W], "counts": str}`."""
    # The code runs down the columns. Only the box around the mask is turned: that is what costs on a large picture.
    rows = mask.any(axis=1).nonzero()[0]
    if not len(rows):
        return empty_code(mask.shape)
    turned = np.zeros(mask.shape[::-1], dtype=np.uint8)
    band = mask[rows[0] : rows[-1] + 1]
    columns = band.any(axis=0).nonzero()[0]
    inside = slice(columns[0], columns[-1] + 1)
    turned[inside, rows[0] : rows[-1] + 1] = band[:, inside].T
    return {"size": list(mask.shape), "counts": coco_mask.encode(turned.T)["counts"].decode("ascii")}


def empty_code(size: tuple[int, int]) -> dict[str, Any]:
    """COCO code of a mask without a pixel, of height and width `size`."""
    return {"size": [int(side) for side in size], "counts": _empty_counts(int(size[0]), int(size[1]))}


@lru_cache(maxsize=64)
def _empty_counts(height: int, width: int) -> str:
    return coco_mask.encode(np.zeros((height, width), np.uint8, order="F"))["counts"].decode("ascii")


def mask_places(mask: np.ndarray) -> np.ndarray:
    """Int64 `(n,)`: places of a bool `(H, W)` mask's pixels in the picture read row by row, as they lie in memory.

    A decoded mask lies column by column: looking for its pixels row by row would take many times as long.
    """
    if not mask.flags.f_contiguous:
        return np.flatnonzero(mask)
    places = np.flatnonzero(mask.T)
    columns = places // mask.shape[0]
    return (places - columns * mask.shape[0]) * mask.shape[1] + columns


def check_code(code: Any, size: tuple[int, int] | None = None) -> dict[str, Any]:
    """A run-length code of unknown origin, checked: its counts fill the picture exactly.

    Args:
        code: `{"size": [H, W], "counts": ...}`; counts are text or bytes as COCO writes them, or a list of integers.
        size: (H, W) it has to have; any when omitted.

    Returns:
        The same code as `encode_mask` writes it.

    Raises:
        ValueError: anything else.
    """
    (height, width), _ = _checked_counts(code, size)
    counts = code["counts"]
    if isinstance(counts, list):
        counts = coco_mask.frPyObjects({"size": [height, width], "counts": counts}, height, width)["counts"]
    return {"size": [height, width], "counts": counts.decode("ascii") if isinstance(counts, bytes) else counts}


def _checked_counts(code: Any, size: tuple[int, int] | None = None) -> tuple[tuple[int, int], np.ndarray]:
    """Height and width of a code, and its counts int64; raises as `check_code`."""
    if not isinstance(code, dict) or not {"size", "counts"} <= set(code):
        keys = f"the keys {sorted(map(str, code))}" if isinstance(code, dict) else type(code).__name__
        raise ValueError(f"a run-length code has 'size' and 'counts', got {keys:.100}")
    height, width = _checked_size(code["size"], size)
    counts, pixels = code["counts"], height * width
    numbers = _listed_counts(counts, pixels) if isinstance(counts, list) else _text_counts(counts, pixels)
    if numbers.min(initial=0) < 0 or numbers.max(initial=0) > pixels or numbers.sum() != pixels:
        total = (
            int(numbers.sum()) if numbers.min(initial=0) >= 0 and numbers.max(initial=0) <= pixels else "more or less"
        )
        raise ValueError(f"the counts add up to {total}, not to {height} x {width} pixels")
    return (height, width), numbers


def _checked_size(given: Any, size: tuple[int, int] | None) -> tuple[int, int]:
    """Height and width of a code."""
    sides = list(given) if isinstance(given, list | tuple) else None
    if sides is None or len(sides) != 2 or not all(type(side) is int and side > 0 for side in sides):
        raise ValueError(f"the size of a run-length code is [height, width], two positive integers, got {given!r:.60}")
    if size is not None and sides != list(size):
        raise ValueError(f"the code is {sides} but the picture is {list(size)} (height, width)")
    if sides[0] * sides[1] > _MAX_PIXELS:
        raise ValueError(f"a mask of {sides[0]} x {sides[1]} pixels is more than {_MAX_PIXELS}, which is refused")
    return sides[0], sides[1]


def _listed_counts(counts: list[Any], pixels: int) -> np.ndarray:
    """Int64 counts of a list."""
    for count in counts:
        if type(count) is not int or not 0 <= count <= pixels:
            raise ValueError(f"the counts of a run-length code are integers from 0 to {pixels}, got {count!r:.60}")
    return np.array(counts, dtype=np.int64)


def _text_counts(counts: Any, pixels: int) -> np.ndarray:
    """Int64 counts of COCO's text.

    Each has five bits a character, the sixth says that more follow; from the fourth on they are differences to the
    count two places before.
    """
    data = counts.encode("utf-8", "surrogatepass") if isinstance(counts, str) else counts
    if not isinstance(data, bytes):
        raise ValueError(f"the counts of a run-length code are text or a list of integers, got {counts!r:.60}")
    bits = np.frombuffer(data, np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero(bits & 32 == 0)
    if not len(bits) or bits.min() < 0 or bits.max() > 63 or not len(ends) or ends[-1] != len(bits) - 1:
        raise ValueError(f"counts that are no run-length code: {counts!r:.60}")
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > _MAX_CHARACTERS:
        raise ValueError(f"a count of the run-length code is larger than the picture of {pixels} pixels")
    places = 5 * (np.arange(len(bits)) - np.repeat(starts, lengths))
    numbers = np.add.reduceat((bits & 31) << places, starts)
    numbers -= np.where(bits[ends] & 16, np.left_shift(1, 5 * lengths), 0)
    for parity in (1, 2):
        numbers[parity::2] = numbers[parity::2].cumsum()
    return numbers


def decode_mask(code: dict[str, Any]) -> np.ndarray:
    """Bool `(H, W)` of a run-length code.

    Raises:
        ValueError: see `check_code`.
    """
    (height, width), counts = _checked_counts(code)
    # A seventh of the time of pycocotools, which writes pixel by pixel; the code runs down the columns.
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(width, height).T


def unite_masks(codes: list[dict[str, Any]]) -> dict[str, Any]:
    """The union of codes of one size, as a code.

    Raises:
        ValueError: see `check_code`; also where the sizes differ.
    """
    first = check_code(codes[0])
    size = (first["size"][0], first["size"][1])
    return check_code(coco_mask.merge([first, *(check_code(code, size) for code in codes[1:])]), size)


def polygon_code(polygon: list[float], size: tuple[int, int]) -> dict[str, Any]:
    """The code of a polygon `[x0, y0, x1, y1, ...]` in pixels, rasterised as pycocotools does."""
    return coco_mask.merge(coco_mask.frPyObjects([[float(value) for value in polygon]], *size))


def mask_area(code: dict[str, Any]) -> int:
    """Number of pixels of a COCO code."""
    return int(coco_mask.area(code))


def mask_box(code: dict[str, Any]) -> tuple[int, int, int, int] | None:
    """Box `(x0, y0, x1, y1)` around the pixels of a COCO code, `x1` and `y1` beyond the last one; `None` if empty."""
    if not mask_area(code):
        return None
    x, y, width, height = (int(value) for value in coco_mask.toBbox(code))
    return x, y, x + width, y + height


def mask_iou(first: dict[str, Any], second: dict[str, Any]) -> float:
    """Intersection over union of two COCO codes of one size; 1 when both are empty."""
    if not mask_area(first) and not mask_area(second):
        return 1.0
    return float(coco_mask.iou([first], [second], [0])[0, 0])


def logits_to_codes(
    logits: torch.Tensor, size: tuple[int, int], threshold: float, two_step: bool = False
) -> list[dict[str, Any]]:
    """Codes of masks `logits > threshold` at source size, one per frame.

    Args:
        logits: `(T, h, w)`, any float type.
        size: height and width of the source.
        threshold: logit above which a pixel belongs to the mask.
        two_step: see `resize_logits`.

    Returns:
        `T` COCO codes. Only a few frames at a time exist at source size.
    """
    step = max(1, _CHUNK_PIXELS // (size[0] * size[1]))
    parts = (above(resize_logits(part, size, two_step), threshold) for part in logits.split(step))
    return [encode_mask(mask) for masks in parts for mask in masks]


__all__ = [
    "above",
    "check_code",
    "decode_mask",
    "empty_code",
    "encode_mask",
    "logits_to_codes",
    "mask_area",
    "mask_box",
    "mask_iou",
    "mask_places",
    "polygon_code",
    "resize_logits",
    "unite_masks",
]
