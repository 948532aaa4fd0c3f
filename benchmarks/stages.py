"""Stage by stage: seconds of every network of an answer, its operations, the bytes it must move, and its floor.

Enters: a model. Leaves: a row per stage. Networks are watched while a video is answered; what is done without any
(resizing, codes, files) is timed on a made mask. Operations are those of matrix products, convolutions and attention;
bytes are weights, inputs and outputs, each once.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel
from desa2va.processing.files import VideoWriter, encode_mask, overlay_masks, resize_logits, write_index_png

from .machine import Rates, processor_seconds
from .random_models import matching_processor

HEIGHT, WIDTH, VIDEO_FRAMES = 720, 1280, 16


@dataclass(frozen=True)
class Call:
    """One call of a network."""

    seconds: float
    operations: int
    bytes: int


def networks(model: DeSa2VAModel) -> dict[str, nn.Module]:
    """The networks of an answer by the names of their stages."""
    language, own = model.mllm.model, model.segmenter.networks()
    named = {"vision tower": language.vision_tower, "language model": language.language_model}
    return named | {name.replace("_", " "): network for name, network in own.items()}


@contextmanager
def watched(model: DeSa2VAModel, counter: FlopCounterMode | None = None) -> Iterator[dict[str, list[Call]]]:
    """Inside, every call of every network is noted; the language model's as `prefill` or `decode`.

    Args:
        counter: counts operations; seconds mean nothing then.
    """
    calls: dict[str, list[Call]] = defaultdict(list)
    hooks = []
    for name, module in networks(model).items():
        before, after = _hooks(name, calls, counter)
        hooks.append(module.register_forward_pre_hook(before))
        hooks.append(module.register_forward_hook(after, with_kwargs=True))
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


def _hooks(name: str, calls: dict[str, list[Call]], counter: FlopCounterMode | None) -> tuple[Callable, Callable]:
    began: list[tuple[float, int]] = []

    def before(*_: Any) -> None:
        began.append((time.process_time(), counter.get_total_flops() if counter else 0))

    def after(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        seconds, operations = time.process_time() - began[-1][0], 0
        if counter:
            operations = counter.get_total_flops() - began[-1][1]
        began.pop()
        moved = sum(map(_bytes, (list(module.parameters()), args, kwargs, output)))
        calls[_stage(name, kwargs)].append(Call(seconds, operations, moved))

    return before, after


def _stage(name: str, kwargs: Mapping[str, Any]) -> str:
    if name != "language model":
        return name
    embedded = kwargs.get("inputs_embeds")
    length = (kwargs["input_ids"] if embedded is None else embedded).shape[1]
    return "decode, a token" if length == 1 else "prefill"


def _bytes(value: Any) -> int:
    """Of all tensors in plain containers; those of a cache, which is updated in place, are left out."""
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, Mapping):
        return sum(map(_bytes, value.values()))
    return sum(map(_bytes, value)) if isinstance(value, list | tuple) else 0


def answer_video(model: DeSa2VAModel, frames: int, tokens: int) -> Callable[[], Any]:
    """One sentence about a clip of noise, with a `[SEG]` after at most `tokens` tokens, tracked through all frames."""
    clip = np.random.default_rng(0).integers(0, 256, (frames, 96, 128, 3), dtype=np.uint8)
    batch = matching_processor(model)(videos=clip, text="the red circle", task="segment", num_key_frames=2)
    return partial(model.generate, **batch, max_new_tokens=tokens)


def network_rows(model: DeSa2VAModel, rates: Rates, frames: int, tokens: int, repeats: int) -> dict[str, Any]:
    """A row per network: the mean of its calls, each the least of several answers, and that call's floor."""
    answer = answer_video(model, frames, tokens)
    answer()
    counter = FlopCounterMode(display=False)
    with watched(model, counter) as counted, counter, sdpa_kernel(SDPBackend.MATH):  # attention as plain products
        answer()
    taken: dict[str, list[list[float]]] = defaultdict(list)
    for _ in range(repeats):
        with watched(model) as calls:
            answer()
        for name, found in calls.items():
            taken[name].append([call.seconds for call in found])
    rows = {}
    for name, found in counted.items():
        least = [min(times) for times in zip(*taken[name], strict=True)]
        operations = statistics.mean(call.operations for call in found)
        moved = statistics.mean(call.bytes for call in found)
        row = stage_row(statistics.mean(least), operations, moved, rates)
        rows[name] = {**row, "calls": len(found)}
    return rows


def stage_row(seconds: float, operations: float, moved: float, rates: Rates) -> dict[str, Any]:
    """Plain values of a stage: milliseconds, floor in milliseconds, million operations, megabytes."""
    return {
        "value": round(1000 * seconds, 4),
        "unit": "ms",
        "floor": round(1000 * rates.floor(operations, moved), 4),
        "million_operations": round(operations / 1e6, 3),
        "megabytes": round(moved / 1e6, 3),
    }


def file_rows(rates: Rates, repeats: int) -> dict[str, Any]:
    """Resizing and files of one frame of 720p with one object; all are bound by bytes."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    mask = (rows - HEIGHT // 2) ** 2 + (columns - WIDTH // 2) ** 2 < (HEIGHT // 4) ** 2
    frame = np.stack([(rows * k + columns) % 256 for k in (1, 2, 3)], axis=-1).astype(np.uint8)
    clip = [np.roll(frame, 4 * number, axis=1) for number in range(VIDEO_FRAMES)]
    logits = torch.randn(1, 256, 256)
    with tempfile.TemporaryDirectory() as folder:
        picture, video = Path(folder, "mask.png"), Path(folder, "clip.mp4")
        works: dict[str, tuple[Callable[[], Any], int]] = {
            "resize to 720p": (lambda: resize_logits(logits, (HEIGHT, WIDTH)), logits.numel() * 4 + mask.size * 4),
            "code of a mask": (lambda: encode_mask(mask), mask.size),
            "overlay": (lambda: overlay_masks(frame, [mask]), 2 * frame.nbytes + mask.size),
            "PNG": (lambda: write_index_png(mask.astype(np.uint8), picture, overwrite=True), mask.size),
            f"mp4 of {VIDEO_FRAMES} frames": (lambda: _write_video(video, clip), VIDEO_FRAMES * frame.nbytes),
        }
        return {
            name: stage_row(processor_seconds(work, repeats), 0, moved, rates) for name, (work, moved) in works.items()
        }


def _write_video(path: Path, clip: list[np.ndarray]) -> None:
    with VideoWriter(path, 25, overwrite=True) as video:
        for frame in clip:
            video.write(frame)


__all__ = ["Call", "answer_video", "file_rows", "network_rows", "networks", "stage_row", "watched"]
