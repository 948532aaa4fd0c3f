"""Results as the tasks of other harnesses read them.

Enters: a `SegmentationResult`. Leaves: text: JSON with masks as run-length codes, boxes and scores (SA-Co), or points
of every object over time (lmms-eval's `rvos_*`, which score points, not masks). (Engineering; no paper section.)
"""

from __future__ import annotations

import json

import numpy as np
from scipy.ndimage import distance_transform_edt

from desa2va.processing.files import decode_mask, mask_area, mask_box
from desa2va.processing.results import SegmentationResult

_SCALE = 1000  # of the coordinates in tracks, whatever the size of the video


def masks_reply(result: SegmentationResult) -> str:
    """`{"masks": [COCO code], "boxes": [[x0, y0, x1, y1]], "scores": [...]}` of a picture's objects that have a mask.

    Boxes are in pixels, the far sides outside; a score is the predicted IoU times the probability of the object.
    """
    found = [entry for entry in result.objects if mask_area(entry.codes[0])]
    return json.dumps(
        {
            "masks": [entry.codes[0] for entry in found],
            "boxes": [list(mask_box(entry.codes[0])) for entry in found],
            "scores": [float(entry.iou_scores[0]) * float(entry.object_scores[0]) for entry in found],
        }
    )


def tracks_reply(result: SegmentationResult, seconds: list[float]) -> str:
    """`<tracks coords="time id x y ...; ...">`: of every object on every frame the pixel deepest inside its mask.

    Args:
        seconds: of every frame. Coordinates count to 1000 over the width and the height.
    """
    segments = []
    for frame, second in enumerate(seconds):
        points = [
            (place, *inner_point(decode_mask(entry.codes[frame])))
            for place, entry in enumerate(result.objects)
            if mask_area(entry.codes[frame])
        ]
        if points:
            height, width = result.objects[0].codes[frame]["size"]
            told = (f"{place} {_scaled(x, width)} {_scaled(y, height)}" for place, x, y in points)
            segments.append(f"{second:.4f} {' '.join(told)}")
    return f'<tracks coords="{"; ".join(segments)}">target objects</tracks>'


def inner_point(mask: np.ndarray) -> tuple[int, int]:
    """`(x, y)` of the pixel of a mask that is farthest from its border; the first of several.

    Args:
        mask: bool `(H, W)`, not empty. The picture's edge counts as border.
    """
    depth = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), mask.shape)
    return int(x), int(y)


def _scaled(place: int, size: int) -> int:
    return min(_SCALE, round(_SCALE * place / size))


__all__ = ["inner_point", "masks_reply", "tracks_reply"]
