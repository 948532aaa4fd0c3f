"""Points, boxes and masks without words: pristine SAM-2 (METHOD section 6).

Enters: the prompt tensors of a processor batch. Leaves: `DeSa2VAGenerateOutput` with an empty answer.
"""

from __future__ import annotations

import torch

from desa2va.modeling_desa2va.devices import execution_device
from desa2va.modeling_desa2va.outputs import DeSa2VAGenerateOutput
from desa2va.modeling_desa2va.segmenter import DeSa2VASegmenter
from desa2va.modeling_desa2va.tracking import FramePrompt, MemoryTracker, Visual, encode_lazily

PROMPT_INPUTS = (
    "prompt_points",
    "prompt_point_labels",
    "prompt_boxes",
    "prompt_masks",
    "prompt_given",
    "prompt_visual",
)


def follow_clicks(
    segmenter: DeSa2VASegmenter, prompts: dict[str, torch.Tensor], sam_pixel_values: torch.Tensor, shown: list[Visual]
) -> DeSa2VAGenerateOutput:
    """Prompts on the first key frame of every visual, its tracker on the others.

    Args:
        segmenter: in eval mode. prompts: the `prompt_*` tensors of the batch. sam_pixel_values: (F, 3, S, S).
        shown: the visuals.

    Raises:
        ValueError: no prompts.
    """
    if not prompts:
        raise ValueError("generate needs token ids (a text) or prompts (points, boxes, masks); got neither")
    device = execution_device(segmenter.sam)
    owner = prompts["prompt_visual"]
    output = DeSa2VAGenerateOutput(
        sequences=torch.zeros(len(shown), 0, dtype=torch.long),
        object_sequence=owner,
        seg_probability=torch.ones(len(owner)),
        seg_forced=torch.zeros(len(owner), dtype=torch.bool),
        track_logits=[torch.zeros(0)] * len(owner),
        track_iou=[torch.zeros(0)] * len(owner),
        track_object_score=[torch.zeros(0)] * len(owner),
    )
    for number, entry in enumerate(shown):
        objects = (owner == number).nonzero()[:, 0].tolist()
        if not objects:
            continue
        first = sam_pixel_values[entry.rows[:1]].to(device)
        known = {entry.key_frames[0]: segmenter.encode_frames(first)}
        start = {entry.key_frames[0]: frame_prompts(prompts, objects, device)}
        tracks = MemoryTracker(segmenter).track(
            encode_lazily(segmenter, entry.read), start, entry.num_frames, len(objects), known=known
        )
        tracks.put_into(output, objects)
    return output


def frame_prompts(prompts: dict[str, torch.Tensor], objects: list[int], device: torch.device) -> list[FramePrompt]:
    """One `FramePrompt` per object: a mask where there is one, else its clicks and box."""
    result = []
    for row, number in enumerate(objects):
        given = prompts["prompt_given"][number].tolist()
        if given[2]:
            masks = (prompts["prompt_masks"][number : number + 1] > 0).float().to(device)
            result.append(FramePrompt([row], masks=masks))
            continue
        points = None
        if given[0]:
            points = tuple(
                prompts[name][number : number + 1].to(device) for name in ("prompt_points", "prompt_point_labels")
            )
        boxes = prompts["prompt_boxes"][number : number + 1].to(device) if given[1] else None
        result.append(FramePrompt([row], points=points, boxes=boxes))
    return result


__all__ = ["PROMPT_INPUTS", "follow_clicks", "frame_prompts"]
