"""When a correction contradicts what the model says, or said (METHOD section 6, Inter-VOS).

Enters: masks and clicks. Leaves: a verdict. SAM-2's interactive rules take it for granted that the decoder obeys a
click and that all prompts of an object agree. Where they visibly do not, the user's last word counts.
"""

from __future__ import annotations

import torch

from desa2va.modeling_desa2va.tracking import Observation, resize_logits
from desa2va.processing.files import MaskOptions

SAME_OBJECT_IOU = 0.5  # masks that overlap less show something else


def contradicts_clicks(
    observation: Observation,
    points: tuple[torch.Tensor, torch.Tensor] | None,
    boxes: torch.Tensor | None,
    side: int,
    options: MaskOptions,
) -> bool:
    """Whether an object is absent, a click on the wrong side of its mask, or the mask no match for the box.

    Args:
        observation: of one object. points: (1, k, 2) SAM pixels and (1, k) labels. boxes: (1, 4) SAM pixels.
        side: SAM-2's input size. options: complete; what the user sees as a mask.
    """
    inside = resize_logits(observation.reported.float(), side)[0] > options.mask_threshold
    absent = float(observation.object_score) <= options.object_score_threshold
    if (absent and options.empty_absent) or not inside.any():
        return True
    if boxes is not None:
        rows, columns = inside.any(1).nonzero()[:, 0], inside.any(0).nonzero()[:, 0]
        around = torch.stack([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]).float()
        shared = (torch.minimum(around, boxes[0])[2:] - torch.maximum(around, boxes[0])[:2]).clamp(min=0).prod()
        areas = (around[2:] - around[:2]).prod() + (boxes[0, 2:] - boxes[0, :2]).prod()
        if shared < SAME_OBJECT_IOU * (areas - shared):
            return True
    if points is None:
        return False
    columns, rows = points[0][0].long().clamp(0, side - 1).unbind(-1)
    return bool((inside[rows, columns] != (points[1][0] == 1)).any())


def contradicts_mask(before: torch.Tensor, after: torch.Tensor, threshold: float) -> bool:
    """Whether mask logits (h, w) show something else than those before; an object that was lost, or is gone, does not
    change what it is. `threshold`: above it a pixel is in the mask.
    """
    first, second = before > threshold, after > threshold
    if not first.any() or not second.any():
        return False
    return bool((first & second).sum() < SAME_OBJECT_IOU * (first | second).sum())


__all__ = ["SAME_OBJECT_IOU", "contradicts_clicks", "contradicts_mask"]
