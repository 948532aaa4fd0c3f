"""Does a frame late in a video cost what an early one costs?

Enters: a model with random weights. Leaves: CPU seconds per frame around frames 50 and 1,000, and their ratio. Both
are taken in turns, one frame of each, so that whatever else the machine does counts for both.
"""

from __future__ import annotations

import statistics
from functools import partial

import torch

from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel
from desa2va.modeling_desa2va.outputs import ImageFeatures
from desa2va.modeling_desa2va.tracking import FrameSteps, MemoryBank, MemoryTracker

from .random_models import box_masks, clip_encoder, made_up_features, mask_prompts, noise_clip
from .tracking_cost import cpu_seconds

EARLY, LATE = 50, 1000


def walked_time(model: DeSa2VAModel, num_objects: int = 3, window: int = 41) -> dict[str, object]:
    """Two real walks through 1,000 frames and more, from masks on frame 0: medians over windows around 50 and 1,000.

    Args:
        window: frames in each window, odd.
    """
    half, seconds = window // 2, {EARLY: [], LATE: []}
    encode = clip_encoder(model.segmenter, noise_clip(model, 8))
    prompts = mask_prompts(model, num_objects)
    walks = {
        middle: MemoryTracker(model.segmenter).walk(encode, prompts, LATE + half + 1, num_objects, "forward")
        for middle in (EARLY, LATE)
    }
    for middle, walk in walks.items():
        for _ in range(middle - half):
            next(walk)
    for _ in range(window):
        for middle, walk in walks.items():
            seconds[middle].append(cpu_seconds(partial(next, walk)))
    for walk in walks.values():
        walk.close()
    return _summary(seconds) | {"objects": num_objects, "window": window, "walked": True}


@torch.no_grad()
def banked_time(model: DeSa2VAModel, num_objects: int = 1, window: int = 3) -> dict[str, object]:
    """Frames 50 and 1,000 followed with the memory bank as a walk leaves it, but without walking.

    Every earlier frame was written to the bank and forgotten by its rules, all with the same memory. What is timed is
    a whole frame but its encoding; the features are made up.
    """
    segmenter, seconds = model.segmenter, {EARLY: [], LATE: []}
    steps, objects = FrameSteps(segmenter), list(range(num_objects))
    with made_up_features(segmenter):
        features = segmenter.encode_frames(noise_clip(model, 1))
    rows = torch.zeros(num_objects, dtype=torch.long)
    started = steps.prompt_masks(features, rows, box_masks(model, num_objects))
    sizes = {}
    for _ in range(window):
        for middle in (EARLY, LATE):
            bank = MemoryBank(segmenter.sam, LATE + 1)
            steps.remember(features, rows, started, bank, 0, objects)
            memory = next(iter(bank.prompted.values()))
            for frame in range(1, middle):
                bank.add(frame, objects, memory.features, memory.pointers)
                bank.forget(frame + 1)
            sizes[str(middle)] = len(bank)
            seconds[middle].append(cpu_seconds(partial(_one_frame, steps, features, rows, bank, middle, objects)))
    return _summary(seconds) | {"objects": num_objects, "window": window, "walked": False, "frames_in_bank": sizes}


def _one_frame(
    steps: FrameSteps,
    features: ImageFeatures,
    rows: torch.Tensor,
    bank: MemoryBank,
    frame: int,
    objects: list[int],
) -> None:
    observation = steps.follow(features, rows, bank, frame, objects)
    steps.remember(features, rows, observation, bank, frame, objects)
    bank.forget(frame + 1)


def _summary(seconds: dict[int, list[float]]) -> dict[str, object]:
    medians = {middle: statistics.median(values) for middle, values in seconds.items()}
    return {
        "seconds_per_frame": {str(middle): round(value, 5) for middle, value in medians.items()},
        "ratio": round(medians[LATE] / medians[EARLY], 4),
    }


__all__ = ["EARLY", "LATE", "banked_time", "walked_time"]
