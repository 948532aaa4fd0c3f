"""Visuals, requests and prompts of a user to the plan of a batch.

In: opened visuals and checked requests (`user_request`). Out: `VisualInfo`s with their key frames, the prompts of each
visual, and a `BatchPlan` for `BatchAssembler` (paper section 3.1; METHOD section 6, step 1).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from desa2va.processing.inputs import FrameSource, ObjectPrompt, draw_regions, key_frame_indices, parse_prompts

from .batch_assembly import BatchPlan, SequencePlan
from .user_request import Request, VisualInfo

QWEN_MAX_ASPECT_RATIO = 200


def describe_visuals(
    opened: list[tuple[str, FrameSource]], key_frames: Any, num_key_frames: int, sam_image_processor: Any
) -> list[VisualInfo]:
    """Chooses the key frames of every visual.

    Args:
        opened: `(kind, source)` from `open_visuals`.
        key_frames: a strategy, frame indices for every video, or a list with one of these for each visual.
        num_key_frames: how many, for strategies.
        sam_image_processor: kept in the `VisualInfo`.

    Raises:
        ValueError: see `key_frame_indices`; or a list of another length than there are visuals.
    """
    nested = isinstance(key_frames, (list, tuple)) and any(
        entry is None or isinstance(entry, str) or np.ndim(entry) for entry in key_frames
    )
    choices = list(key_frames) if nested else [key_frames] * len(opened)
    if len(choices) != len(opened):
        raise ValueError(f"key_frames holds {len(choices)} entries for {len(opened)} visuals; give one for each")
    visuals = []
    for (kind, source), choice in zip(opened, choices, strict=True):
        indices = [0]
        if kind == "video" or nested:  # what is said of one picture has to be true of it
            strategy, explicit = (choice, None) if isinstance(choice, str) else ("uniform", choice)
            indices = key_frame_indices(strategy, len(source), num_key_frames, explicit)
        visuals.append(
            VisualInfo(
                kind, source.height, source.width, len(source), indices, source.fps, source, sam_image_processor
            )
        )
    return visuals


def check_aspect_ratio(visuals: list[VisualInfo]) -> None:
    """Raises `ValueError` naming a visual that is too narrow for the image processor of Qwen-VL."""
    for info in visuals:
        longer, shorter = max(info.height, info.width), min(info.height, info.width)
        if longer > QWEN_MAX_ASPECT_RATIO * shorter:
            raise ValueError(
                f"{info.source.name}: {info.width} x {info.height} pixels; Qwen-VL takes pictures whose longer side "
                f"is at most {QWEN_MAX_ASPECT_RATIO} times the shorter one"
            )


def prompts_of_visuals(points: Any, boxes: Any, masks: Any, visuals: list[VisualInfo]) -> list[list[ObjectPrompt]]:
    """The prompts of each visual.

    Args:
        points: of one visual as in `parse_prompts`; of several a list with one entry (or `None`) for each.
        boxes: likewise.
        masks: likewise.
        visuals: the visuals of the batch.

    Raises:
        ValueError: no visual, lists of another length, or anything `parse_prompts` refuses.
    """
    given = {"points": points, "boxes": boxes, "masks": masks}
    columns = []
    for name, value in given.items():
        if value is not None and not visuals:
            raise ValueError(f"{name}= marks objects in a picture or video, but none is given")
        several = len(visuals) > 1 and value is not None
        if several and (not isinstance(value, (list, tuple)) or len(value) != len(visuals)):
            raise ValueError(f"{name}: give a list of {len(visuals)} entries, one (or None) for each visual")
        columns.append(list(value) if several else [value] * len(visuals))
    return [
        parse_prompts(*kinds, (info.height, info.width), info.source.name)
        for *kinds, info in zip(*columns, visuals, strict=True)
    ]


def plan_inference(
    visuals: list[VisualInfo], requests: list[Request], prompts: list[list[ObjectPrompt]], max_tiles: int
) -> BatchPlan:
    """Plans the batch: key frames are read here, and each is encoded once however many requests share it.

    Args:
        visuals: the visuals.
        requests: what is asked; empty when only prompts are given, then nothing is prepared for the language model.
        prompts: of each visual; drawn on the first key frame that the language model sees.
        max_tiles: most tiles of a picture.
    """
    plan = BatchPlan()
    images: list[list[int]] = []
    for number, (info, objects) in enumerate(zip(visuals, prompts, strict=True)):
        frames = info.source.read(info.key_frames)
        plan.add_sam_frames(frames, number)
        if not requests:
            continue
        if objects:
            regions = np.stack([entry.region(info.height, info.width) for entry in objects])
            frames = [draw_regions(frames[0], regions), *frames[1:]]
        tiles = max_tiles if info.kind == "image" else 1
        images.append([plan.add_image(frame, tiles) for frame in frames])
    for request in requests:
        shown = images[request.visual] if request.visual >= 0 else []
        seconds = visuals[request.visual].key_seconds if request.visual >= 0 else None
        plan.sequences.append(
            SequencePlan(request.messages, shown, request.visual, seconds, request.name, ending=request.ending)
        )
    return plan


__all__ = ["check_aspect_ratio", "describe_visuals", "plan_inference", "prompts_of_visuals"]
