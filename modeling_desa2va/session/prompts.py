"""Clicks, boxes and masks of an interactive session, checked and accumulated (METHOD section 6, Inter-VOS).

Enters: what a user gives, in pixels of the source. Leaves: `GivenPrompt`s, which hold all that is given for an object
on a frame.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from desa2va.modeling_desa2va.tracking import binary_masks
from desa2va.processing.files import encode_mask
from desa2va.processing.inputs import MAX_CLICKS, ObjectPrompt, parse_prompts

from .store import GivenPrompt, ObjectState


def new_prompts(points: Any, boxes: Any, masks: Any, video: Any, frame: int, side: int) -> list[GivenPrompt]:
    """What starts new objects on a frame.

    Args:
        points, boxes, masks: see `parse_prompts`. video: the `FrameSource`. frame: where. side: SAM-2's input size.

    Raises:
        ValueError: anything `parse_prompts` refuses, or an object that has clicks beside it only.
    """
    marked = parse_prompts(points, boxes, masks, (video.height, video.width), f"frame {frame}")
    for prompt in marked:
        if prompt.mask is None and prompt.box is None and not (prompt.point_labels == 1).any():
            raise ValueError(f"frame {frame}: a new object needs at least one click on it (label 1), or a box")
    return [_given(prompt, side) for prompt in marked]


def correction(state: ObjectState, frame: int, points: Any, box: Any, mask: Any, video: Any, side: int) -> GivenPrompt:
    """All that is given for an object on a frame, what it had there before included.

    Clicks join earlier clicks and box; a box starts over; a mask stands alone.

    Raises:
        ValueError: anything `parse_prompts` refuses, or prompts of several objects.
    """
    marked = parse_prompts(
        points, box, None if mask is None else [mask], (video.height, video.width), f"frame {frame}"
    )
    if len(marked) != 1:
        raise ValueError(f"frame {frame}: a correction has the prompts of one object, these mark {len(marked)}")
    given, before = _given(marked[0], side), state.prompts.get(frame)
    if before is not None and mask is None and box is None:
        given = replace(given, points=before.points + given.points, box=before.box)
    if len(given.points) > MAX_CLICKS:
        raise ValueError(
            f"frame {frame}: {len(given.points)} clicks on one object are more than {MAX_CLICKS}; use a mask"
        )
    return settled(state, frame, given)


def settled(state: ObjectState, frame: int, given: GivenPrompt) -> GivenPrompt:
    """Says whether the frame is decoded without memory: where the object had not been tracked to it.

    A frame once prompted so stays so, however often it is corrected; so does transformers' session.
    """
    before = state.prompts.get(frame)
    return replace(given, initial=frame not in state.index if before is None else before.initial)


def _given(prompt: ObjectPrompt, side: int) -> GivenPrompt:
    if prompt.mask is not None:
        inside = binary_masks(torch.from_numpy(prompt.mask)[None], side)[0].bool()
        return GivenPrompt(mask=encode_mask(inside.numpy()))
    points = ()
    if prompt.points is not None:
        labels = prompt.point_labels.tolist()
        points = tuple((x, y, label) for (x, y), label in zip(prompt.points.tolist(), labels, strict=True))
    return GivenPrompt(points=points, box=None if prompt.box is None else tuple(prompt.box.tolist()))


__all__ = ["correction", "new_prompts", "settled"]
