"""What a language model should know before a mask is drawn, read linearly from its states: a lesson of generated
scenes, whose factors are known. Published language models bring this along.

Enters: states of `[SEG]` and of image tokens, samples. Leaves: `grounding` (place, colour, shape, size of the object
of every `[SEG]`) and `motion` (which way the object that an image token shows has moved since the frames before).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel
from desa2va.training.data.refshapes import COLOR_NAMES, SHAPES, SIZES
from desa2va.training.data.sample import Sample
from desa2va.training.dense_targets import MOTION_NAMES, factor_indices, motion_maps

PLACES = 8
READOUT = (PLACES * PLACES, len(COLOR_NAMES), len(SHAPES), len(SIZES))
READOUT_WEIGHTS = (0.7, 1.0, 1.0, 0.5)
FACTOR_NAMES = ("place", "color", "shape", "size")


class SegReader(nn.Linear):
    """Reads place, colour, shape and size from the state of a `[SEG]`; `width` is the language model's."""

    def __init__(self, width: int) -> None:
        super().__init__(width, sum(READOUT))

    def score(self, states: torch.Tensor, samples: list[Sample]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """States (O, D) of all objects of a batch -> the loss, and how many of each factor are right."""
        loss, metrics = states.new_zeros(()), {}
        targets = _seg_targets(samples).to(states.device)
        parts = self(states).split(READOUT, dim=1)
        for logits, column, weight, name in zip(parts, targets.T, READOUT_WEIGHTS, FACTOR_NAMES, strict=True):
            loss = loss + weight * _mean_cross_entropy(logits, column)
            metrics[f"seg_{name}"] = (logits.argmax(1) == column).float().mean()
        return loss, metrics


class MotionReader(nn.Linear):
    """Reads from image tokens, halfway through the language layers, which way what they show has moved.

    One layer is enough to find an object of a frame on an earlier one, and what an image token knows by then all
    later words can ask for. Words about motions alone are too rare a lesson: they left it at chance.

    Args:
        width: D of the language model.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, len(MOTION_NAMES))

    def score(
        self, model: DeSa2VAModel, states: torch.Tensor, batch: dict[str, Any]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss and `motion_accuracy` (0.25 is chance); a batch without a video has a connected zero alone.

        Args:
            model: that read the batch. states: of `middle_states`, as the layers saw them. batch: of
                `DeSa2VAProcessor.collate`, one tile a frame.
        """
        input_ids, image_index = batch["input_ids"], batch["image_index"]
        packed = model.packing_of(input_ids, batch["attention_mask"], image_index)
        states = states if packed is None else packed.unpack(states)
        shown = states[input_ids == model.config.mllm_config.image_token_id].unflatten(0, (len(image_index), -1))
        maps = motion_maps(batch["samples"], int(shown.shape[1] ** 0.5)).flatten(1)
        frames = torch.tensor(shown_frames(batch["sequence_visual"], image_index, batch["samples"]))
        targets = maps[frames[image_index.cpu()]].to(states.device)
        moved = targets >= 0
        # Between the layers states have any length, and a few places a thousand times that of others.
        rows = F.layer_norm(shown[moved].float(), shown.shape[-1:])
        logits, targets = self(rows), targets[moved]
        metrics = {"motion_accuracy": (logits.argmax(1) == targets).float().mean()} if len(targets) else {}
        return _mean_cross_entropy(logits, targets), metrics


@contextmanager
def middle_states(model: DeSa2VAModel) -> Iterator[list[torch.Tensor]]:
    """Collects the states halfway through the language layers, (B, N, D) or as the batch was packed."""
    layers = model.mllm.model.language_model.layers
    states: list[torch.Tensor] = []
    handle = layers[len(layers) // 2].register_forward_pre_hook(lambda _, arguments: states.append(arguments[0]))
    try:
        yield states
    finally:
        handle.remove()


def shown_frames(sequence_visual: torch.Tensor, image_index: torch.Tensor, samples: list[Sample]) -> list[int]:
    """For each picture that is encoded the frame it shows, counted over all samples; outlined ones are pictures."""
    lengths = [len(sample.scene["instance_map"]) for sample in samples]
    runs = [
        frame
        for visual in sequence_visual.tolist()
        for frame in range(sum(lengths[:visual]), sum(lengths[: visual + 1]))
    ]
    shown = dict(zip(image_index.tolist(), runs, strict=True))
    return [shown[picture] for picture in range(len(shown))]


def _mean_cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Zero, and connected, without rows."""
    return F.cross_entropy(logits.float(), targets, reduction="sum") / max(1, len(targets))


def _seg_targets(samples: list[Sample]) -> torch.Tensor:
    """(O, 4) place, colour, shape, size of every `[SEG]`, in the order of the batch's objects."""
    rows = []
    for sample in samples:
        size = sample.frames.shape[1]
        for conversation in sample.conversations:
            for target in conversation.targets[: len(conversation.masks)]:
                item = sample.scene["objects"][target]
                cell = [min(PLACES - 1, max(0, int(item[axis] * PLACES / size))) for axis in ("center_y", "center_x")]
                rows.append((cell[0] * PLACES + cell[1], *factor_indices(item)))
    return torch.tensor(rows, dtype=torch.long).reshape(-1, 4)


__all__ = ["MotionReader", "SegReader", "middle_states", "shown_frames"]
