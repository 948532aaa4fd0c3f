"""Masks at source resolution, kept small: logits resized once, thresholded, run-length encoded.

In: low-resolution mask logits of SAM-2 `(T, h, w)`. Out: one COCO run-length code per frame, which is exact and makes
a long video fit in memory; boxes and areas are read from the code. METHOD section 6 (masks at source resolution).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch.nn import functional as F

_CHUNK_PIXELS = 32 * 1024 * 1024


def resize_logits(logits: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Low-resolution logits `(n, h, w)` to source size `(n, H, W)` float32, bilinear, `align_corners=False`.

    SAM-2 sees the picture stretched to a square, so the square of logits covers exactly the picture.
    """
    resized = F.interpolate(logits.float()[:, None], size=size, mode="bilinear", align_corners=False)
    return resized[:, 0]


def encode_mask(mask: np.ndarray) -> dict[str, Any]:
    """COCO code of a bool `(H, W)` mask: `{"size": [H, W], "counts": str}`."""
    code = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(side) for side in code["size"]], "counts": code["counts"].decode("ascii")}


def decode_mask(code: dict[str, Any]) -> np.ndarray:
    """Bool `(H, W)` of a COCO code."""
    return coco_mask.decode(code).astype(bool)


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
    logits: torch.Tensor, size: tuple[int, int], threshold: float, present: list[bool] | None = None
) -> list[dict[str, Any]]:
    """Codes of masks `logits > threshold` at source size, one per frame.

    Args:
        logits: `(T, h, w)`, any float type.
        size: height and width of the source.
        threshold: logit above which a pixel belongs to the mask.
        present: frames where the object is; the mask of any other frame is empty. `None`: all.

    Returns:
        `T` COCO codes. Only a few frames at a time exist at source size.
    """
    empty = encode_mask(np.zeros(size, dtype=bool))
    codes = [empty] * len(logits)
    wanted = [index for index in range(len(logits)) if present is None or present[index]]
    step = max(1, _CHUNK_PIXELS // (size[0] * size[1]))
    for start in range(0, len(wanted), step):
        indices = wanted[start : start + step]
        masks = (resize_logits(logits[indices], size) > threshold).cpu().numpy()
        for index, mask in zip(indices, masks, strict=True):
            codes[index] = encode_mask(mask)
    return codes


__all__ = ["decode_mask", "encode_mask", "logits_to_codes", "mask_area", "mask_box", "mask_iou", "resize_logits"]
