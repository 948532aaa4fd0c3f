"""What every objective is: the model and its throw-away heads under one roof, so that gradients are averaged over
processes.

Enters: a collated batch. Leaves: an `ObjectiveOutput` of named scalar terms (unweighted), features for the auxiliary
networks, and plain numbers worth logging.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel
from desa2va.training.label_states import LabelReader

MODEL_INPUTS = (
    "input_ids",
    "attention_mask",
    "pixel_values",
    "image_index",
    "num_tiles",
    "image_grid_thw",
    "mm_token_type_ids",
    "sam_pixel_values",
    "sam_frame_visual",
    "sequence_visual",
    "labels",
)


@dataclass
class ObjectiveOutput:
    """Terms: scalars to be weighted and added. Features: (O, C) prompts the auxiliary networks look at. Metrics:
    logged.
    """

    terms: dict[str, torch.Tensor] = field(default_factory=dict)
    features: dict[str, torch.Tensor] = field(default_factory=dict)
    metrics: dict[str, torch.Tensor] = field(default_factory=dict)


class Objective(nn.Module):
    """A model with throw-away heads. Sub-classes define `forward(**batch) -> dict` of an `ObjectiveOutput`'s fields.

    Args:
        model: the model that is trained. Heads are added by sub-classes and never enter a release.
        reader: reads the ground-truth phrases; `None` where none are read. It is frozen and no part of the trained
            module, but goes where the model goes.
    """

    def __init__(self, model: DeSa2VAModel, reader: LabelReader | None = None) -> None:
        super().__init__()
        self.model = model
        self._reader = [reader]  # in a list: not a part of the trained module

    def _apply(self, function: Callable, recurse: bool = True) -> Objective:
        """What every move goes through."""
        for reader in filter(None, self._reader):
            reader._apply(function, recurse)
        return super()._apply(function, recurse)

    def heads(self) -> dict[str, nn.Module]:
        """The throw-away heads by name."""
        return {name: child for name, child in self.named_children() if name != "model"}


def model_inputs(batch: dict[str, Any], *leave_out: str) -> dict[str, Any]:
    """The entries of a batch that `DeSa2VAModel.forward` takes."""
    return {name: batch[name] for name in MODEL_INPUTS if name in batch and name not in leave_out}


__all__ = ["MODEL_INPUTS", "Objective", "ObjectiveOutput", "model_inputs"]
