"""The schedule of Sa2VA's published inference code, over this package's networks: the reference for costs.

Enters: a clip and language tokens of each object. Leaves: mask logits of every object on every frame. Objects go one
by one. For each, the first five frames are encoded and prompted, encoded again when their memories are made, and every
later frame is encoded and followed: n + min(5, n) encodings per object. Arithmetic, rules and results are those of
strategy `"memory"` (METHOD section 6); only the order of the work differs.
"""

from __future__ import annotations

import torch

from desa2va.modeling_desa2va.outputs import ImageFeatures
from desa2va.modeling_desa2va.segmenter import DeSa2VASegmenter
from desa2va.modeling_desa2va.tracking import BatchedEncoder, FrameSteps, MemoryBank

NUM_PROMPTED = 5


def peer_encodings(num_frames: int, num_objects: int) -> int:
    """How many images the schedule encodes."""
    return num_objects * (num_frames + min(NUM_PROMPTED, num_frames))


def run_peer_schedule(segmenter: DeSa2VASegmenter, pixels: torch.Tensor, prompts: torch.Tensor) -> torch.Tensor:
    """Tracks O objects through a clip, one after the other.

    Args:
        segmenter: in eval mode.
        pixels: (T, 3, S, S) normalised. prompts: (O, K, C) language tokens.

    Returns:
        (O, T, h, w) fp32 mask logits on the CPU.
    """
    return torch.stack([_track_one(segmenter, pixels, prompt[None]) for prompt in prompts])


@torch.no_grad()
def prompt_one_by_one(segmenter: DeSa2VASegmenter, pixels: torch.Tensor, prompts: torch.Tensor) -> torch.Tensor:
    """Logits (O, 1, h, w) of the first frame: every object encodes it, is prompted, and nothing is remembered."""
    steps, row = _steps(segmenter), torch.zeros(1, dtype=torch.long, device=segmenter.sam.device)
    seen = [steps.prompt_language(_encode(segmenter, pixels, 0), row, prompt[None]) for prompt in prompts]
    return torch.stack([observation.logits.float().cpu() for observation in seen])


@torch.no_grad()
def prompt_together(segmenter: DeSa2VASegmenter, pixels: torch.Tensor, prompts: torch.Tensor) -> torch.Tensor:
    """The same as `prompt_one_by_one` as this package draws a picture: one encoding, all objects in one call."""
    rows = torch.zeros(len(prompts), dtype=torch.long, device=segmenter.sam.device)
    features = BatchedEncoder(segmenter)(pixels[:1])
    return _steps(segmenter).prompt_language(features, rows, prompts).logits.float().cpu()[:, None]


def _steps(segmenter: DeSa2VASegmenter) -> FrameSteps:
    decoder, multimask = segmenter.visual_decoder, segmenter.multimask_output
    return FrameSteps(segmenter, decoder=decoder, multimask=multimask, gate_masks=False, binarize_prompts=False)


@torch.no_grad()
def _track_one(segmenter: DeSa2VASegmenter, pixels: torch.Tensor, prompt: torch.Tensor) -> torch.Tensor:
    steps = _steps(segmenter)
    bank = MemoryBank(segmenter.sam, len(pixels), dtype=torch.bfloat16)
    row = torch.zeros(1, dtype=torch.long, device=segmenter.sam.device)
    first = range(min(NUM_PROMPTED, len(pixels)))
    seen = [steps.prompt_language(_encode(segmenter, pixels, frame), row, prompt) for frame in first]
    for frame in first:
        features = _encode(segmenter, pixels, frame)
        # The published encoding ends with the decoder's 1x1 convolutions; the decoder does them itself elsewhere.
        segmenter.high_levels(segmenter.visual_decoder, features)
        steps.remember(features, row, seen[frame], bank, frame, [0])
    for frame in range(len(first), len(pixels)):
        features = _encode(segmenter, pixels, frame)
        seen.append(steps.follow(features, row, bank, frame, [0]))
        steps.remember(features, row, seen[-1], bank, frame, [0])
        bank.forget(frame + 1)
    return torch.cat([observation.logits.float().cpu() for observation in seen])


def _encode(segmenter: DeSa2VASegmenter, pixels: torch.Tensor, frame: int) -> ImageFeatures:
    return segmenter.encode_frames(pixels[frame : frame + 1].to(segmenter.sam.device))


__all__ = ["NUM_PROMPTED", "peer_encodings", "prompt_one_by_one", "prompt_together", "run_peer_schedule"]
