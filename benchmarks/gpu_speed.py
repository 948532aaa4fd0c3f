"""Frames per second on a GPU: tracking with SAM-2.1 large shapes for 1, 5 and 20 objects, and the image encoder alone.

Enters: a model with random weights on the GPU. Leaves: frames per second, eager or compiled; fp32 weights, in
bfloat16 autocast or without. Pixels lie on the device already; decoding and resizing of video, the language model and
the copy of masks to the CPU are left out, as in published tracking speeds. The memory bank is full before the clock
starts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import islice

import torch

from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel
from desa2va.modeling_desa2va.tracking import MemoryTracker

from .random_models import clip_encoder, mask_prompts, noise_clip

OBJECT_COUNTS = (1, 5, 20)
ENCODER_BATCHES = (1, 8)
WARM_FRAMES, TIMED_FRAMES = 24, 60
SA2VA_FPS = 39.5  # what Sa2VA states for its tracker
COMPILED = ("vision_encoder", "memory_attention", "mask_decoder", "memory_encoder")


def gpu_fps(
    model: DeSa2VAModel,
    compiled: bool,
    done: Callable[[dict], None],
    timed_frames: int = TIMED_FRAMES,
    dtype: torch.dtype = torch.bfloat16,
) -> dict[str, object]:
    """Frames per second of the encoder and of tracking.

    Args:
        model: on the device to be measured. compiled: `torch.compile` the four networks of a followed frame.
        done: called with what there is so far after every figure; compiling takes minutes.
        timed_frames: frames that are timed. dtype: what is computed in, autocast unless it is float32.

    Returns:
        `encoder`: images per call -> frames per second; `tracking`: objects -> frames per second; `warm_up_seconds`.
    """
    segmenter = model.segmenter
    segmenter.set_precision(dtype)
    if compiled:
        for name in COMPILED:
            getattr(segmenter.sam, name).compile()
    figures: dict[str, object] = {"encoder": {}, "tracking": {}, "warm_up_seconds": {}, "sa2va_fps": SA2VA_FPS}
    try:
        for batch in ENCODER_BATCHES[:1] if compiled else ENCODER_BATCHES:
            figures["encoder"][str(batch)] = _encoder_fps(model, batch, timed_frames)
            done(figures)
        for count in OBJECT_COUNTS:
            fps, warm = _tracking_fps(model, count, timed_frames)
            figures["tracking"][str(count)], figures["warm_up_seconds"][str(count)] = fps, warm
            done(figures)
    finally:
        segmenter.set_precision(torch.float32)
        for name in COMPILED:
            getattr(segmenter.sam, name)._compiled_call_impl = None
    return figures


@torch.no_grad()
def _encoder_fps(model: DeSa2VAModel, batch: int, timed_frames: int) -> float:
    device = model.segmenter.sam.device
    pixels = noise_clip(model, batch).to(device)
    for _ in range(3):
        model.segmenter.encode_frames(pixels)
    calls = max(timed_frames // batch, 3)
    start = _now(device)
    for _ in range(calls):
        model.segmenter.encode_frames(pixels)
    return round(calls * batch / (_now(device) - start), 2)


def _tracking_fps(model: DeSa2VAModel, count: int, timed_frames: int) -> tuple[float, float]:
    """Frames per second once the bank is full, and the seconds until then."""
    device = model.segmenter.sam.device
    encode = clip_encoder(model.segmenter, noise_clip(model, 4).to(device))
    length = WARM_FRAMES + timed_frames
    walk = MemoryTracker(model.segmenter).walk(encode, mask_prompts(model, count), length, count, direction="forward")
    begin = _now(device)
    for _ in islice(walk, WARM_FRAMES):
        pass
    start = _now(device)
    timed = sum(1 for _ in walk)
    return round(timed / (_now(device) - start), 2), round(start - begin, 2)


def _now(device: torch.device) -> float:
    """Wall clock once the device has done all that was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


__all__ = ["gpu_fps"]
