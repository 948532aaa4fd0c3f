"""Models with random weights, clips of noise and ways to count or leave out single networks.

Enters: a size. Leaves: a `DeSa2VAModel` with SAM-2 in miniature or SAM-2.1 large, beside a small language model, and
what is needed to track with it. Costs do not depend on the weights; whether an object is present does: all are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import torch
from torch import nn

from desa2va.configuration.configuration_desa2va import DeSa2VAConfig
from desa2va.configuration.presets import sam_large_config, tiny_config
from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel
from desa2va.modeling_desa2va.segmenter import DeSa2VASegmenter
from desa2va.modeling_desa2va.tracking import FrameEncoder, FramePrompt
from desa2va.processing.processing_desa2va import DeSa2VAProcessor
from desa2va.training.processors import preset_processor
from desa2va.training.warm_start import fan_in

SIZES = ("tiny", "large")
PRESENT = 10.0


def random_model(size: str, device: str = "cpu", seed: int = 0, **fields: object) -> DeSa2VAModel:
    """A model in eval mode for which every object is on every frame.

    Args:
        size: `"tiny"` (the shipped preset, 128 px) or `"large"` (SAM-2.1 large, 1024 px, with the tiny preset's
            language model, whose size no figure here depends on).
        device: of the weights. seed: of the weights. fields: overrides of `DeSa2VAConfig`.

    Raises:
        ValueError: an unknown size.
    """
    if size not in SIZES:
        raise ValueError(f"size={size!r} is unknown; choose one of {', '.join(SIZES)}")
    torch.manual_seed(seed)
    small = tiny_config()
    sam = small.sam_config if size == "tiny" else sam_large_config()
    config = DeSa2VAConfig(mllm_config=small.mllm_config, sam_config=sam, seg_token_ids=[6], **fields)
    with torch.device(device):
        model = DeSa2VAModel(config)
    fan_in(model)
    segmenter = model.segmenter
    for decoder in (segmenter.sam.mask_decoder, segmenter.text_decoder, segmenter.visual_decoder):
        decoder.pred_obj_score_head.proj_out.bias.data.fill_(PRESENT)
    return model.eval()


def matching_processor(model: DeSa2VAModel) -> DeSa2VAProcessor:
    """The tiny preset's processor at the model's SAM-2 input size."""
    processor = preset_processor("tiny", {})
    side = model.config.image_size
    processor.sam_image_processor.size = {"height": side, "width": side}
    return processor


def noise_clip(model: DeSa2VAModel, num_frames: int) -> torch.Tensor:
    """Normalised pixels (T, 3, S, S) of noise, on the CPU."""
    side = model.config.image_size
    return torch.randn(num_frames, 3, side, side, generator=torch.Generator().manual_seed(1))


def box_masks(model: DeSa2VAModel, num_objects: int) -> torch.Tensor:
    """Masks (O, S, S) in {0, 1}: one rectangle each, at different places."""
    side = model.config.image_size
    masks = torch.zeros(num_objects, side, side, device=model.segmenter.sam.device)
    for number, mask in enumerate(masks):
        left = number * side // (2 * num_objects)
        mask[side // 4 : side // 2, left : left + side // 3] = 1.0
    return masks


def mask_prompts(model: DeSa2VAModel, num_objects: int, frame: int = 0) -> dict[int, list[FramePrompt]]:
    """`box_masks` as the prompts of one frame."""
    return {frame: [FramePrompt(list(range(num_objects)), masks=box_masks(model, num_objects))]}


def language_prompts(model: DeSa2VAModel, num_objects: int) -> torch.Tensor:
    """Language tokens (O, 1, C), unit normal."""
    generator = torch.Generator().manual_seed(2)
    tokens = torch.randn(num_objects, 1, model.config.prompt_dim, generator=generator)
    return tokens.to(model.segmenter.sam.device)


def clip_encoder(segmenter: DeSa2VASegmenter, pixels: torch.Tensor) -> FrameEncoder:
    """Encodes frame t of a clip (T, 3, S, S) as its row t modulo T, one frame per call."""

    def encode(frames):
        for frame in frames:
            row = frame % len(pixels)
            yield segmenter.encode_frames(pixels[row : row + 1].to(segmenter.sam.device))

    return encode


class EncoderCounter:
    """Counts the images that enter SAM-2's image encoder, as a context; a batch of F counts F."""

    def __init__(self, segmenter: DeSa2VASegmenter) -> None:
        self.count = 0
        self._encoder, self._hook = segmenter.sam.vision_encoder, None

    def __enter__(self) -> EncoderCounter:
        self._hook = self._encoder.register_forward_pre_hook(self._add)
        return self

    def __exit__(self, *failure: object) -> None:
        self._hook.remove()

    def _add(self, module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        self.count += len(inputs[0])


class _MadeUpEncoder(nn.Module):
    """Answers every image with noise of the right shapes."""

    def __init__(self, segmenter: DeSa2VASegmenter) -> None:
        super().__init__()
        sam = segmenter.sam
        grid, generator = sam.prompt_encoder.image_embedding_size[0], torch.Generator().manual_seed(3)
        shapes = [(1, sam.hidden_dim, scale * grid, scale * grid) for scale in (4, 2, 1)]
        self.levels = [torch.randn(shape, generator=generator).to(sam.device) for shape in shapes]
        encode_position = sam.vision_encoder.neck.position_encoding
        self.position = encode_position(torch.Size(shapes[-1]), sam.device, torch.float32)

    def forward(self, pixel_values: torch.Tensor, **options: object) -> SimpleNamespace:
        """Features of (F, 3, S, S) pixels that are not looked at; new memory for every call, like the real one's."""
        levels = [level.repeat(len(pixel_values), 1, 1, 1) for level in self.levels]
        return SimpleNamespace(fpn_hidden_states=levels, fpn_position_encoding=[self.position])


@contextmanager
def made_up_features(segmenter: DeSa2VASegmenter) -> Iterator[None]:
    """Inside, images are "encoded" without the work: every one gets the same noise."""
    sam = segmenter.sam
    real = sam.vision_encoder
    sam.vision_encoder = _MadeUpEncoder(segmenter)
    try:
        yield
    finally:
        sam.vision_encoder = real


class _NoAttention(nn.Module):
    """Memory attention that returns the frame as it is."""

    def forward(self, current_vision_features: torch.Tensor, memory: torch.Tensor, **inputs: object) -> torch.Tensor:
        """(g*g, 1 or O, C) to (1, O, g*g, C), the shape of the real one's answer; `memory` (L, O, M)."""
        return current_vision_features.expand(-1, memory.shape[1], -1).permute(1, 0, 2)[None]


@contextmanager
def reduced_networks(segmenter: DeSa2VASegmenter) -> Iterator[None]:
    """`made_up_features`, and memories that are made, kept and handed over as always, but not attended to."""
    sam = segmenter.sam
    real = sam.memory_attention
    sam.memory_attention = _NoAttention()
    try:
        with made_up_features(segmenter):
            yield
    finally:
        sam.memory_attention = real


__all__ = [
    "SIZES",
    "EncoderCounter",
    "box_masks",
    "clip_encoder",
    "language_prompts",
    "made_up_features",
    "mask_prompts",
    "matching_processor",
    "noise_clip",
    "random_model",
    "reduced_networks",
]
