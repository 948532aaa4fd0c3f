"""CPU time of tracking: against the peer's schedule, objects together against one by one, and stage by stage.

Enters: a model with random weights. Leaves: ratios and seconds for the report. All seconds are the process' own CPU
time (`time.process_time`), so that other programs on the machine count for little; the two sides of a ratio take
turns.

`large` on a CPU takes about half a minute per encoding. There the image encoder is timed by itself (`encoding`, its
seconds per image) and the rest with made-up features; a run's seconds are `encodings x encoding + rest`, and the
report says `composed`. Where `encoding` is omitted everything is run as it is.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

import torch

from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel
from desa2va.modeling_desa2va.outputs import ClipPrediction
from desa2va.modeling_desa2va.tracking import MemoryTracker, TrackRequest, encode_lazily, walk_objects

from .peer_schedule import peer_encodings, prompt_one_by_one, prompt_together, run_peer_schedule
from .random_models import EncoderCounter, clip_encoder, language_prompts, made_up_features, mask_prompts, noise_clip

PEER_FRAMES, PEER_OBJECTS = 8, (1, 3, 10)
TOGETHER_FRAMES, TOGETHER_OBJECTS = 16, 10
STAGES = ("vision_encoder", "memory_attention", "mask_decoder", "memory_encoder")


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU seconds of this process, all its threads together, that one call takes."""
    start = time.process_time()
    work()
    return time.process_time() - start


def peer_ratio(model: DeSa2VAModel, repeats: int, encoding: float | None = None) -> dict[str, object]:
    """CPU time of the peer's schedule over ours, 8 frames, for 1, 3 and, where not composed, 10 objects.

    The peer's schedule encodes an image when it comes to it, ours as many ahead as the package does anywhere. What the
    ratio owes to that shows in a second one, for which ours also encodes one image per call (not where composed, where
    an image costs the same in any batch).

    Args:
        repeats: turns of each side. encoding: see the module.

    Returns:
        `ratio_to_peer_schedule`: number of objects -> ratio; `peer_schedule`: what it consists of, with
        `ratio_one_image_per_call`.
    """
    pixels = noise_clip(model, PEER_FRAMES)
    composed, encoding = encoding is not None, encoding or 0.0
    ratios, details = {}, {"frames": PEER_FRAMES, "composed": composed, "encoder_seconds": round(encoding, 3) or None}
    for count in PEER_OBJECTS[:2] if composed else PEER_OBJECTS:
        with made_up_features(model.segmenter) if composed else nullcontext():
            taken, notes = _both_sides(model, pixels, count, repeats, composed)
        peer = [peer_encodings(PEER_FRAMES, count) * encoding + value for value in taken["peer"]]
        ours = [PEER_FRAMES * encoding + value for value in taken["ours"]]
        ratios[str(count)] = median_ratio(peer, ours)
        seconds = {"peer_seconds": statistics.median(peer), "our_seconds": statistics.median(ours)}
        if not composed:
            notes["ratio_one_image_per_call"] = median_ratio(peer, taken["one_image_per_call"])
            seconds["our_seconds_one_image_per_call"] = statistics.median(taken["one_image_per_call"])
        details[str(count)] = {name: round(value, 4) for name, value in seconds.items()} | notes
    return {"ratio_to_peer_schedule": ratios, "peer_schedule": details}


def picture_ratio(model: DeSa2VAModel, repeats: int) -> dict[str, object]:
    """CPU time of one picture in the peer's way, where every object has its encoding, over ours: objects -> ratio.

    No memory is made on either side. Unlike in the published code the peer encodes once, not again for its memory.
    """
    segmenter, pixels, ratios = model.segmenter, noise_clip(model, 1), {}
    for count in PEER_OBJECTS:
        prompts = language_prompts(model, count)
        sides = {
            "peer": partial(prompt_one_by_one, segmenter, pixels, prompts),
            "ours": partial(prompt_together, segmenter, pixels, prompts),
        }
        taken = defaultdict(list)
        for _ in range(repeats):
            for name, work in sides.items():
                taken[name].append(cpu_seconds(work))
        ratios[str(count)] = median_ratio(taken["peer"], taken["ours"])
    return {"ratio_of_a_picture": ratios}


def median_ratio(above: list[float], below: list[float]) -> float:
    """Median of the ratios of runs made in turns: what disturbs one turn disturbs both of its runs."""
    return round(statistics.median(top / bottom for top, bottom in zip(above, below, strict=True)), 3)


def _both_sides(
    model: DeSa2VAModel, pixels: torch.Tensor, count: int, repeats: int, composed: bool
) -> tuple[dict[str, list[float]], dict[str, object]]:
    """Seconds of both schedules in turns, and their encodings and the difference of their results.

    Composed, one of the peer's `count` runs is made; the others count as much.
    """
    segmenter, prompts = model.segmenter, language_prompts(model, count)
    peer_runs = 1 if composed else count
    sides = {
        "peer": partial(run_peer_schedule, segmenter, pixels, prompts[:peer_runs]),
        "ours": partial(track_with_memory, model, pixels, prompts),
    }
    if not composed:
        sides["one_image_per_call"] = partial(track_with_memory, model, pixels, prompts, batch_size=1)
    counted, results, taken = {}, {}, defaultdict(list)
    for _ in range(repeats):
        for name, work in sides.items():
            with EncoderCounter(segmenter) as counter:
                start = time.process_time()
                results[name] = work()
                taken[name].append(time.process_time() - start)
            counted[name] = counter.count
    scale = count / peer_runs
    taken["peer"] = [scale * value for value in taken["peer"]]
    difference = (results["peer"] - results["ours"][:peer_runs]).abs().max()
    notes = {
        "peer_encodings": int(scale * counted["peer"]),
        "our_encodings": counted["ours"],
        "peer_runs_made": peer_runs,
        "max_logit_difference": float(difference),
        "logit_deviation": float(results["peer"].std()),
    }
    return taken, notes


def track_with_memory(
    model: DeSa2VAModel, pixels: torch.Tensor, prompts: torch.Tensor, batch_size: int | None = None
) -> torch.Tensor:
    """Our strategy `"memory"` on a clip (T, 3, S, S) with language tokens (O, K, C): logits (O, T, h, w) fp32.

    `batch_size`: images per call of the encoder; as everywhere in the package when omitted.
    """
    empty = prompts.new_zeros(len(prompts), 0)
    request = TrackRequest(
        num_frames=len(pixels),
        encode=encode_lazily(model.segmenter, lambda frames: (pixels[frame] for frame in frames), batch_size),
        key_frames=[],
        key_masks=ClipPrediction(empty[..., None, None], empty, empty),
        prompts=prompts,
    )
    return torch.stack([seen.logits.cpu() for seen in walk_objects(model.segmenter, request, "memory")], dim=1)


def encoder_seconds(model: DeSa2VAModel, repeats: int = 2) -> float:
    """CPU seconds of one image through the encoder, the fastest of `repeats`."""
    pixels = noise_clip(model, 1)
    with torch.no_grad():
        return min(cpu_seconds(partial(model.segmenter.encode_frames, pixels)) for _ in range(repeats))


def together_ratio(model: DeSa2VAModel, repeats: int, encoding: float | None = None) -> dict[str, object]:
    """CPU time of ten objects tracked together over that of ten runs with one, 16 frames, from masks on frame 0.

    Composed, one single run is made and counted ten times, and frames after the first on which the memory bank is full
    are charged what that one took: their work is the same.
    """
    segmenter = model.segmenter
    composed, encoding = encoding is not None, encoding or 0.0
    full = segmenter.sam.num_maskmem if composed else TOGETHER_FRAMES - 1
    singles = 1 if composed else TOGETHER_OBJECTS
    taken = defaultdict(list)
    with made_up_features(segmenter) if composed else nullcontext():
        for _ in range(repeats):
            taken["together"].append(_seconds_of_track(model, TOGETHER_OBJECTS, full))
            taken["single"].append(sum(_seconds_of_track(model, 1, full) for _ in range(singles)))
    together = [TOGETHER_FRAMES * encoding + value for value in taken["together"]]
    alone = [TOGETHER_OBJECTS * (TOGETHER_FRAMES * encoding + value / singles) for value in taken["single"]]
    return {
        "ratio_together_to_single": median_ratio(together, alone),
        "together": {
            "frames": TOGETHER_FRAMES,
            "objects": TOGETHER_OBJECTS,
            "together_seconds": round(statistics.median(together), 4),
            "single_runs_seconds": round(statistics.median(alone), 4),
            "single_runs_made": singles * repeats,
            "frames_run": full + 1,
            "composed": composed,
            "encoder_seconds": round(encoding, 3) or None,
        },
    }


def _seconds_of_track(model: DeSa2VAModel, num_objects: int, last: int) -> float:
    """CPU seconds of 16 frames; frames after number `last` are charged what `last` took."""
    pixels = noise_clip(model, 1 if last + 1 < TOGETHER_FRAMES else TOGETHER_FRAMES)
    encode = clip_encoder(model.segmenter, pixels)
    walk = MemoryTracker(model.segmenter).walk(
        encode, mask_prompts(model, num_objects), TOGETHER_FRAMES, num_objects, direction="forward"
    )
    seconds = [cpu_seconds(lambda: next(walk)) for _ in range(last + 1)]
    walk.close()
    return sum(seconds) + (TOGETHER_FRAMES - last - 1) * seconds[-1]


def stage_shares(
    model: DeSa2VAModel, num_objects: int, num_frames: int, encoding: float | None = None
) -> dict[str, object]:
    """Where the time of a followed frame goes: CPU milliseconds by network, the rest (resizing, prompts, bookkeeping,
    Python) as `other`. Medians over those of the first `num_frames` frames that have a full bank; masks on frame 0.
    """
    segmenter, spent = model.segmenter, defaultdict(float)
    hooks = [hook for name in STAGES for hook in _time_module(getattr(segmenter.sam, name), name, spent)]
    composed, encoding = encoding is not None, encoding or 0.0
    rows = []
    with made_up_features(segmenter) if composed else nullcontext():
        encode = clip_encoder(segmenter, noise_clip(model, 1))
        # One frame more than is timed: of a video's last frame no memory is made.
        walk = MemoryTracker(segmenter).walk(
            encode, mask_prompts(model, num_objects), num_frames + 1, num_objects, direction="forward"
        )
        for _ in range(num_frames):
            spent.clear()
            total = cpu_seconds(lambda: next(walk)) + encoding
            stages = {"vision_encoder": encoding} | dict(spent)
            rows.append(stages | {"other": total - sum(stages.values()), "total": total})
        walk.close()
    for hook in hooks:
        hook.remove()
    settled = rows[segmenter.sam.num_maskmem :] or rows[-1:]
    return {name: round(1000 * statistics.median(row[name] for row in settled), 3) for name in settled[0]}


def _time_module(module: torch.nn.Module, name: str, spent: dict[str, float]) -> list[object]:
    """Hooks that add a module's CPU seconds to `spent[name]`."""
    started: list[float] = []

    def before(*call: object) -> None:
        started.append(time.process_time())

    def after(*call: object) -> None:
        spent[name] += time.process_time() - started.pop()

    return [module.register_forward_pre_hook(before), module.register_forward_hook(after)]


__all__ = ["cpu_seconds", "encoder_seconds", "peer_ratio", "stage_shares", "together_ratio", "track_with_memory"]
