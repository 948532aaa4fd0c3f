"""Phase 0, dense stage of the language model's vision tower: what a published tower brings along, learned from
scratch.

Enters: scenes with known factors. Leaves: `dense` (colour, shape, size of every patch) and `presence` (what each
image token shows).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel
from desa2va.training.dense_targets import NUM_CLASSES, NUM_PRESENCE, factor_maps, token_presence

from .base import Objective


class DenseReader(nn.Module):
    """A linear reading of colour, shape and size from features whose channels lie on axis 1.

    Args:
        width: channels. background_weight: weight of the background class, which covers most cells.
    """

    def __init__(self, width: int, background_weight: float) -> None:
        super().__init__()
        self.layer = nn.Conv1d(width, sum(NUM_CLASSES), 1)
        self.background_weight = background_weight

    def forward(self, features: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Features (F, C, cells), targets (3, F, cells) -> summed cross-entropy; accuracy of the shape on objects."""
        logits = self.layer(features).split(NUM_CLASSES, dim=1)
        loss = features.new_zeros(())
        for factor, target in zip(logits, targets, strict=True):
            weight = factor.new_ones(factor.shape[1])
            weight[0] = self.background_weight
            loss = loss + F.cross_entropy(factor, target, weight=weight)
        on_object = targets[1] > 0
        hits = (logits[1].argmax(1) == targets[1])[on_object]
        return loss, hits.float().mean()


class VisionObjective(Objective):
    """Trains `mllm`'s vision tower and projector.

    Args:
        model: a model whose language model is InternVL-like.
    """

    terms = ("dense", "presence")
    metrics = ("shape_accuracy",)

    def __init__(self, model: DeSa2VAModel) -> None:
        super().__init__(model)
        config = model.config.mllm_config
        self.reader = DenseReader(config.vision_config.hidden_size, background_weight=0.1)
        self.presence = nn.Linear(config.text_config.hidden_size, NUM_PRESENCE)
        self.grid = config.vision_config.image_size[0] // config.vision_config.patch_size[0]

    def compute(self, **batch: Any) -> dict[str, Any]:
        """Terms `dense` and `presence`; metric `shape_accuracy`."""
        config = self.model.config.mllm_config
        outputs = self.model.mllm.model.get_image_features(
            batch["pixel_values"],
            vision_feature_layer=config.vision_feature_layer,
            vision_feature_select_strategy=config.vision_feature_select_strategy,
            return_dict=True,
        )
        patches = outputs.last_hidden_state[:, 1:].transpose(1, 2)
        targets = factor_maps(batch["samples"], self.grid, majority=True).flatten(2).to(patches.device)
        dense, accuracy = self.reader(patches, targets)
        presence = F.binary_cross_entropy_with_logits(
            self.presence(outputs.pooler_output), token_presence(batch["samples"], self.grid).to(patches.device)
        )
        return {"terms": {"dense": dense, "presence": presence}, "metrics": {"shape_accuracy": accuracy}}


__all__ = ["DenseReader", "VisionObjective"]
