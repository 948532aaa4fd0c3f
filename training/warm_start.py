"""Start values that are computed, not learned: what a phase does to the model before its first step.

Enters: a model and a few batches. Leaves: the model, changed in place. Each function says why it exists; the tiny
preset has no pre-trained parts, so it needs them all, a published backbone needs the copies and fits only.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from desa2va.modeling_desa2va.decoupling import MotionProjection
from desa2va.modeling_desa2va.devices import execution_device
from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel
from desa2va.training.label_states import LabelReader

from .arguments import DeSa2VATrainingArguments
from .data.streams import samples_in_order
from .projection_fit import fit_projection, write_map

READ_AT_ONCE = 16  # samples


@torch.no_grad()
def fan_in(model: DeSa2VAModel) -> None:
    """Variance-preserving weights: a deviation of .02 leaves narrow networks almost blind to their prompts."""
    for name, module in model.named_modules():
        if isinstance(module, MotionProjection):
            module.reset_parameters()
        elif isinstance(module, nn.Linear) and "lm_head" not in name:
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
        elif isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=module.weight[0].numel() ** -0.5)
        elif isinstance(module, nn.ConvTranspose2d):
            nn.init.normal_(module.weight, std=module.in_channels**-0.5)
        elif isinstance(module, nn.Embedding):
            # SAM-2's prompt and mask tokens are unit normal; a vocabulary is not.
            nn.init.normal_(module.weight, std=0.08 if module.num_embeddings > 64 else 1.0)
    sam = model.segmenter.sam
    backbone = sam.vision_encoder.backbone
    nn.init.normal_(backbone.pos_embed, std=0.2)
    nn.init.normal_(backbone.pos_embed_window, std=0.1)
    for name, parameter in sam.named_parameters():
        if "memory_fuser" in name and name.endswith("scale"):
            parameter.fill_(0.1)
    nn.init.normal_(sam.memory_temporal_positional_encoding, std=0.1)
    nn.init.normal_(sam.no_object_pointer, std=0.1)
    tower = model.mllm.model.vision_tower
    nn.init.normal_(tower.embeddings.cls_token, std=0.3)
    tower.embeddings.position_embeddings.copy_(_sincos_positions(tower.embeddings.position_embeddings))


def _sincos_positions(embeddings: torch.Tensor) -> torch.Tensor:
    """(1, 1 + g * g, D) two-dimensional sine and cosine positions, zero for the class token."""
    count, width = embeddings.shape[1] - 1, embeddings.shape[2]
    grid, quarter = math.isqrt(count), width // 4
    frequency = 60.0 ** -(torch.arange(quarter) / quarter)
    y, x = torch.meshgrid(torch.arange(grid).float(), torch.arange(grid).float(), indexing="ij")
    waves = [wave(axis.reshape(-1, 1) * frequency * math.pi / 2) for axis in (x, y) for wave in (torch.sin, torch.cos)]
    return torch.cat([torch.zeros(1, 1, width), 0.7 * torch.cat(waves, dim=1)[None]], dim=1)


@torch.no_grad()
def whiten_patches(convolution: nn.Conv2d, pixels: torch.Tensor, flat_after: int) -> None:
    """Starts a patch embedding from the principal directions of real patches, whitened and randomly rotated.

    Natural patches vary in brightness first; without whitening colour is learned at once and shape hardly at all.

    Args:
        convolution: (width, 3, k, k). pixels: (n, 3, S, S) as the convolution sees them. flat_after: directions
            beyond this one are not amplified further.
    """
    size, width = convolution.kernel_size[0], convolution.out_channels
    pixels = pixels.to(convolution.weight.device)
    patches = F.unfold(pixels, size, padding=convolution.padding, stride=convolution.stride)
    patches = patches.transpose(1, 2).reshape(-1, 3 * size * size)
    mean = patches.mean(dim=0)
    variance, directions = torch.linalg.eigh((patches - mean).T @ (patches - mean) / len(patches))
    variance, directions = variance.flip(0).clamp(min=0), directions.flip(1)
    kept = min(width, len(variance))
    whitening = directions[:, :kept].T / (variance[:kept] + variance[min(flat_after, kept - 1)]).sqrt()[:, None]
    weight = _rotation(width).to(whitening.device)[:, :kept] @ whitening
    weight = weight / ((patches - mean) @ weight.T).std()
    convolution.weight.copy_(weight.reshape(convolution.weight.shape))
    if convolution.bias is not None:
        convolution.bias.copy_(-weight @ mean)


def whiten_patch_embeddings(model: DeSa2VAModel, batches: list[dict[str, Any]]) -> None:
    """`whiten_patches` for the language model's tower and for SAM-2's encoder."""
    tower = torch.cat([batch["pixel_values"] for batch in batches])[:400]
    sam = torch.cat([batch["sam_pixel_values"] for batch in batches])[:100]
    whiten_patches(model.mllm.model.vision_tower.embeddings.patch_embeddings.projection, tower, flat_after=24)
    whiten_patches(model.segmenter.sam.vision_encoder.backbone.patch_embed.projection, sam, flat_after=12)


@torch.no_grad()
def whiten_labels(model: DeSa2VAModel, reader: LabelReader, phrases: list[str], scale: float = 0.8) -> None:
    """Starts W_l so that every direction in which label states differ counts alike (paper section 3.2, third linear).

    Left to itself W_l keeps the loudest factor of the phrases (colour) and the text decoder never hears the others.

    Args:
        reader: reads phrases alone. phrases: the ones that will be read. scale: deviation of a prompt coordinate.
    """
    projection = model.decoupling.label
    layer = projection.layers[-1]
    states = reader(phrases).to(layer.weight.device).float()
    mean = states.mean(dim=0)
    _, deviations, directions = torch.linalg.svd(states - mean, full_matrices=False)
    deviations = deviations / math.sqrt(len(states))
    kept = int((deviations > 0.02 * deviations[0]).sum().clamp(max=min(layer.weight.shape)))
    whitening = directions[:kept] / deviations[:kept, None]
    rotation = _rotation(layer.out_features).to(states.device)[:, :kept]
    weight = scale * math.sqrt(layer.out_features / kept) * rotation @ whitening
    layer.bias.copy_(-write_map(projection, weight) @ mean)


def _rotation(size: int) -> torch.Tensor:
    """A random orthogonal (size, size) matrix on the CPU, whose generator gives every device the same one."""
    return torch.linalg.qr(torch.randn(size, size))[0]


@dataclass
class SegStates:
    """What prompts are fitted on: `[SEG]` states (O, D), label and click prompts (O, C) of the same objects."""

    states: torch.Tensor
    labels: torch.Tensor
    clicks: torch.Tensor


@torch.no_grad()
def read_seg_states(model: DeSa2VAModel, batches: Iterable[dict[str, Any]], reader: LabelReader | None) -> SegStates:
    """Reads a few batches. Objects that are absent from their first frame are left out: nobody can click on them.

    Args:
        model: in eval mode. batches: collated, on any device. reader: reads the label phrases; without it there are no
            label prompts.
    """
    names = ("input_ids", "attention_mask", "pixel_values", "image_index", "num_tiles")
    states, labels, clicks = [], [], []
    device = execution_device(model.get_input_embeddings())
    for batch in batches:
        inputs = {name: batch[name].to(device) for name in names if batch.get(name) is not None}
        visible = torch.tensor([bool(masks[0].any()) for masks in batch["mask_labels"]])
        states.append(model(**inputs, logits_to_keep=1).seg_states[visible, 0].float())
        masks = [masks[0] for masks, seen in zip(batch["mask_labels"], visible.tolist(), strict=True) if seen]
        clicks.append(click_prompts(model, masks))
        phrases = [phrase for phrase, seen in zip(batch["object_labels"], visible.tolist(), strict=True) if seen]
        labels.append(model.decoupling.label(reader(phrases)).float() if reader else clicks[-1])
    return SegStates(torch.cat(states), torch.cat(labels), torch.cat(clicks))


def click_prompts(model: DeSa2VAModel, masks: list[torch.Tensor]) -> torch.Tensor:
    """SAM-2's own embedding (O, C) of a click inside each mask (H, W): on its pixel nearest to the centroid."""
    size, points = model.segmenter.sam.image_size, []
    for mask in masks:
        inside = mask.nonzero().float()
        nearest = inside[(inside - inside.mean(dim=0)).square().sum(dim=1).argmin()]
        scale = torch.tensor([size / mask.shape[1], size / mask.shape[0]], device=mask.device)
        points.append((nearest.flip(0) + 0.5) * scale - 0.5)
    encoder = model.segmenter.sam.prompt_encoder
    points = torch.stack(points).to(execution_device(encoder))[:, None, None]
    labels = torch.ones(points.shape[:3], dtype=torch.int32, device=points.device)
    return encoder._embed_points(points, labels, pad=False)[:, 0, 0].float()


@torch.no_grad()
def visual_from_text(model: DeSa2VAModel) -> None:
    """Starts the visual decoder from the text decoder that phase 1 trained."""
    model.segmenter.visual_decoder.load_state_dict(model.segmenter.text_decoder.state_dict())


@torch.no_grad()
def favour_visual(model: DeSa2VAModel, bias: float = 2.0) -> None:
    """Starts the gate near the visual mask (0.88): an untrained text branch spoils the fused mask less."""
    if model.fusion.kind != "mean":
        model.fusion.gate[-1].bias.fill_(bias)


def run_warm_start(
    model: DeSa2VAModel, processor: Any, dataset: Any, reader: LabelReader | None, arguments: DeSa2VATrainingArguments
) -> None:
    """Computes the start values the arguments name, in the order they name them.

    One process computes, the others receive its weights.
    """

    def batches(count: int) -> Iterator[dict[str, Any]]:
        samples = samples_in_order(dataset)
        for _ in range(count):
            yield processor.collate(list(islice(samples, READ_AT_ONCE)), every_frame=True)

    @functools.cache
    def seg() -> SegStates:
        return read_seg_states(model, batches(60), reader)

    actions = {
        "fan_in": lambda: fan_in(model),
        "pca": lambda: whiten_patch_embeddings(model, list(batches(25))),
        "copy_decoders": lambda: model.segmenter.copy_decoders(),
        "whiten_labels": lambda: whiten_labels(
            model, reader, sorted({label for batch in batches(40) for label in batch["object_labels"]})
        ),
        "visual_from_text": lambda: visual_from_text(model),
        "fit_text": lambda: fit_projection(model.decoupling.text, seg().states, seg().labels),
        "fit_visual_to_labels": lambda: fit_projection(model.decoupling.visual, seg().states, seg().labels),
        "fit_visual_to_clicks": lambda: fit_projection(model.decoupling.visual, seg().states, seg().clicks),
        "favour_visual": lambda: favour_visual(model),
        "fit_text_to_clicks": lambda: fit_projection(model.decoupling.text, seg().states, seg().clicks),
    }
    if arguments.process_index == 0:
        for name in arguments.warm_start:
            model.eval()
            actions[name]()
            model.train()
    if arguments.warm_start and torch.distributed.is_initialized():
        for value in model.state_dict().values():
            torch.distributed.broadcast(value, 0)


__all__ = [
    "SegStates",
    "click_prompts",
    "fan_in",
    "favour_visual",
    "read_seg_states",
    "run_warm_start",
    "visual_from_text",
    "whiten_labels",
    "whiten_patch_embeddings",
    "whiten_patches",
]
