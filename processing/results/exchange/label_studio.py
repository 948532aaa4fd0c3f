"""Masks as brush labels of Label Studio.

In: a run-length code, or a frame's objects. Out: the bytes its brush tool stores, and a task with a prediction that
its import takes. The bytes are those of the package `@thi.ng/rle-pack`, by its description: 32 bits, how many values
there are; 5 bits, the width of a value less one; four times 4 bits, widths of the counts less one; then runs: a bit
that says whether one value is repeated, 2 bits for the width of the count, the count less one, and the value. The
values are red, green, blue and alpha of each pixel, row by row; alpha is the mask.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from desa2va.processing.files import decode_mask, mask_area

from .classes import class_name

_COUNT_BITS = (3, 4, 8, 16)
_VALUE_BITS = 8


def brush_rle(code: dict[str, Any]) -> list[int]:
    """The bytes of a mask, each in [0, 255]."""
    pixels = decode_mask(code).ravel()
    changes = np.flatnonzero(np.diff(pixels)) + 1
    bounds = [0, *changes.tolist(), len(pixels)]
    header = f"{4 * len(pixels):032b}{_VALUE_BITS - 1:05b}" + "".join(f"{bits - 1:04b}" for bits in _COUNT_BITS)
    runs = (
        run
        for start, end in zip(bounds, bounds[1:], strict=False)
        for run in _packed(4 * (end - start), 255 if pixels[start] else 0)
    )
    bits = header + "".join(runs)
    bits += "0" * (-len(bits) % 8)
    return list(int(bits, 2).to_bytes(len(bits) // 8, "big"))


def _packed(count: int, value: int) -> Iterator[str]:
    """A value that is repeated `count` times, as bits; long runs are several."""
    while count:
        part = min(count, 2 ** _COUNT_BITS[-1])
        number = next(number for number, bits in enumerate(_COUNT_BITS) if part <= 2**bits)
        yield f"1{number:02b}{part - 1:0{_COUNT_BITS[number]}b}{value:0{_VALUE_BITS}b}"
        count -= part


def label_studio_task(
    objects: Sequence[Any], size: tuple[int, int], image: str, from_name: str = "tag", to_name: str = "image"
) -> dict[str, Any]:
    """A task with the masks of one frame as a prediction.

    Args:
        objects: of the frame.
        size: its height and width, pixels.
        image: where Label Studio finds the picture: an address, or a path of its local storage.
        from_name, to_name: of `<BrushLabels>` and `<Image>` in the labelling configuration; Label Studio's own
            template calls them so.
    """
    regions = [
        {
            "id": f"object-{entry.object_id}",
            "type": "brushlabels",
            "from_name": from_name,
            "to_name": to_name,
            "original_width": size[1],
            "original_height": size[0],
            "image_rotation": 0,
            "score": entry.iou_score,
            "value": {"format": "rle", "rle": brush_rle(entry.code), "brushlabels": [class_name(entry)]},
        }
        for entry in objects
        if mask_area(entry.code)
    ]
    prediction = {"model_version": "desa2va", "result": regions}
    if regions:
        prediction["score"] = sum(region["score"] for region in regions) / len(regions)
    return {"data": {"image": image}, "predictions": [prediction]}


__all__ = ["brush_rle", "label_studio_task"]
