"""Objects of other packages, built by those packages.

In: a frame's objects. Out: `supervision.Detections`, `fiftyone.Detections`. The packages are imported when they are
asked for; nothing here needs them.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np

from desa2va.processing.files import decode_mask, mask_area, mask_box

from .classes import class_name, class_names


def _package(name: str) -> Any:
    """A package that is not one of ours, and whose name on the index is its own."""
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(f"the package {name} can not be imported ({error}): pip install {name}") from error


def supervision_detections(objects: Sequence[Any], size: tuple[int, int]) -> Any:
    """`supervision.Detections` of one frame.

    Args:
        objects: of the frame.
        size: its height and width, pixels.

    Returns:
        Of n objects with a pixel: `xyxy` float32 `(n, 4)` pixels, `mask` bool `(n, H, W)`, `confidence` (predicted
        IoU), `class_id` (place in `class_names(objects)`), `tracker_id` (number of the object), and as `data`
        `class_name` and `object_score`.

    Raises:
        ImportError: supervision is not installed.
    """
    supervision = _package("supervision")
    names = class_names(objects)
    seen = [entry for entry in objects if mask_area(entry.code)]
    masks = [decode_mask(entry.code) for entry in seen]
    return supervision.Detections(
        xyxy=np.array([mask_box(entry.code) for entry in seen], np.float32).reshape(-1, 4),
        mask=np.stack(masks) if masks else np.zeros((0, *size), bool),
        confidence=np.array([entry.iou_score for entry in seen], np.float32),
        class_id=np.array([names.index(class_name(entry)) for entry in seen], int),
        tracker_id=np.array([entry.object_id for entry in seen], int),
        data={
            "class_name": np.array([class_name(entry) for entry in seen], dtype=str),
            "object_score": np.array([entry.object_score for entry in seen], np.float32),
        },
    )


def fiftyone_detections(objects: Sequence[Any], size: tuple[int, int]) -> Any:
    """`fiftyone.Detections` of one frame.

    Args:
        objects: of the frame.
        size: its height and width, pixels.

    Returns:
        One `fiftyone.Detection` per object with a pixel: `label` (phrase), `bounding_box` (fractions), `mask` (within
        the box), `confidence` (predicted IoU), `index` (number of the object) and `object_score`.

    Raises:
        ImportError: fiftyone is not installed.
    """
    fiftyone = _package("fiftyone")
    height, width = size
    found = []
    for entry in objects:
        if not mask_area(entry.code):
            continue
        x0, y0, x1, y1 = mask_box(entry.code)
        found.append(
            fiftyone.Detection(
                label=class_name(entry),
                bounding_box=[x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height],
                mask=decode_mask(entry.code)[y0:y1, x0:x1],
                confidence=entry.iou_score,
                index=entry.object_id,
                object_score=entry.object_score,
            )
        )
    return fiftyone.Detections(detections=found)


__all__ = ["fiftyone_detections", "supervision_detections"]
