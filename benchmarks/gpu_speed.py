"""Frames per second on a GPU: tracking with SAM-2.1 large shapes for up to 128 objects, and the image encoder.

Enters: a model with random weights on the GPU. Leaves: frames per second; fp32 weights, in
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

OBJECT_COUNTS = (1, 5, 16, 128)
COMPILED_COUNTS = (1, 16)  # each is compiled anew
MODES = ("eager", "replayed", "compiled")
ENCODER_BATCHES = (1, 8)
WARM_FRAMES, TIMED_FRAMES = 24, 60
SA2VA_FPS = 39.5  # what Sa2VA states for its tracker


def gpu_fps(
    model: DeSa2VAModel,
    mode: str,
    done: Callable[[dict], None],
    timed_frames: int = TIMED_FRAMES,
    dtype: torch.dtype = torch.bfloat16,
) -> dict[str, object]:
    """Frames per second of the encoder and of tracking.

    Args:
        model: on the device to be measured. mode: of `MODES`; see `DeSa2VAModel.use_cuda_graphs`.
        done: called with what there is so far after every figure; compiling takes minutes.
        timed_frames: frames that are timed, of many objects fewer. dtype: what is computed in, autocast unless it is
            float32.

    Returns:
        `encoder`: images per call -> frames per second; `tracking`: objects -> frames per second; `warm_up_seconds`.
    """
    segmenter = model.segmenter
    segmenter.set_precision(dtype)
    if mode != "eager":
        model.use_cuda_graphs(compiled=mode == "compiled")
    figures: dict[str, object] = {"encoder": {}, "tracking": {}, "warm_up_seconds": {}, "sa2va_fps": SA2VA_FPS}
    try:
        for batch in ENCODER_BATCHES[:1] if mode == "compiled" else ENCODER_BATCHES:
            figures["encoder"][str(batch)] = _encoder_fps(model, batch, timed_frames)
            done(figures)
        for count in COMPILED_COUNTS if mode == "compiled" else OBJECT_COUNTS:
            fps, warm = tracking_fps(model, count, max(timed_frames * 5 // max(count, 5), 2))
            figures["tracking"][str(count)], figures["warm_up_seconds"][str(count)] = fps, warm
            done(figures)
    finally:
        segmenter.set_precision(torch.float32)
        model.drop_cuda_graphs()
    return figures


@torch.no_grad()
def _encoder_fps(model: DeSa2VAModel, batch: int, timed_frames: int) -> float:
    device = model.segmenter.sam.device
    pixels = noise_clip(model, batch).to(device)
    for _ in range(3):
        model.segmenter.encode_frames(pixels)
    calls = max(timed_frames // batch, 3)
    start = now(device)
    for _ in range(calls):
        model.segmenter.encode_frames(pixels)
    return round(calls * batch / (now(device) - start), 2)


def tracking_fps(model: DeSa2VAModel, count: int, timed_frames: int) -> tuple[float, float]:
    """Frames per second once the bank is full, and the seconds until then."""
    device = model.segmenter.sam.device
    encode = clip_encoder(model.segmenter, noise_clip(model, 4).to(device))
    length = WARM_FRAMES + timed_frames
    walk = MemoryTracker(model.segmenter).walk(encode, mask_prompts(model, count), length, count, direction="forward")
    begin = now(device)
    for _ in islice(walk, WARM_FRAMES):
        pass
    start = now(device)
    timed = sum(1 for _ in walk)
    return round(timed / (now(device) - start), 2), round(start - begin, 2)


def now(device: torch.device) -> float:
    """Wall clock once the device has done all that was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


__all__ = ["gpu_fps", "now"]
