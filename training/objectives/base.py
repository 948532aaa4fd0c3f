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
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

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
    """A model with throw-away heads. Sub-classes define `compute(**batch) -> dict` of an `ObjectiveOutput`'s fields.

    Args:
        model: the model that is trained. Heads are added by sub-classes and never enter a release.
        reader: reads the ground-truth phrases; `None` where none are read. It is frozen and no part of the trained
            module, but goes where the model goes.

    Attributes:
        every_frame: SAM-2 is to see frames on which no `[SEG]` asks for a mask, too.
        terms, weighed_terms, metrics: names of what `compute` gives: always where there is something to measure, where
            a term's weight is not 0, and to be logged.
    """

    every_frame = False
    terms: tuple[str, ...] = ()
    weighed_terms: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()

    def __init__(self, model: DeSa2VAModel, reader: LabelReader | None = None) -> None:
        super().__init__()
        self.model = model
        self._reader = [reader]  # in a list: not a part of the trained module

    @property
    def _no_split_modules(self) -> list[str]:
        """Classes of the layers that are sharded each by itself (read by accelerate), see `training/sharding.py`."""
        return sorted({type(layer).__name__ for layer in self.model.mllm.model.language_model.layers})

    @property
    def label_reader(self) -> LabelReader | None:
        """What reads the ground-truth phrases."""
        return self._reader[0]

    def _apply(self, function: Callable, recurse: bool = True) -> Objective:
        """What every move goes through."""
        for reader in filter(None, self._reader):
            reader._apply(function, recurse)
        return super()._apply(function, recurse)

    def forward(self, **batch: Any) -> dict[str, Any]:
        """What `compute` says; without an object in the batch every parameter that learns gets a gradient of zero.

        Each process of a distributed training has to take part in every gradient, whatever its batch holds. Of a
        sharded model the gradients travel as one, so that none may be missing there.
        """
        output, sharded = self.compute(**batch), isinstance(self, FSDPModule)
        if not batch["mask_labels"] or sharded:
            name, term = next(iter(output["terms"].items()))
            output["terms"][name] = term + connected_zero(self)
        if sharded:  # FSDP hooks what leaves a module, and warns of views
            output["features"] = {name: value.clone() for name, value in output.get("features", {}).items()}
        return output

    def end_step(self) -> None:
        """Called after every optimizer step, by every process of a training."""

    def activation_checkpointing_enable(
        self, activation_checkpointing_kwargs: dict[str, Any] | None = None, **options: Any
    ) -> None:
        """Lets the model's layers forget their activations; the heads are too small to matter."""
        self.model.activation_checkpointing_enable(activation_checkpointing_kwargs, **options)

    def gradient_checkpointing_enable(
        self, gradient_checkpointing_kwargs: dict[str, Any] | None = None, **options: Any
    ) -> None:
        """The same by the name that transformers used before."""
        self.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs, **options)

    def heads(self) -> dict[str, nn.Module]:
        """The throw-away heads by name."""
        return {name: child for name, child in self.named_children() if name != "model"}


def connected_zero(module: nn.Module) -> torch.Tensor:
    """An exact zero, float32, that is part of the graph for every parameter of `module` that learns; reads none.

    Left out are the weights of layers that every process has run, which are divided again by now.
    """
    learning = [value for value in module.parameters() if value.requires_grad and not isinstance(value, DTensor)]
    zeros = [parameter.reshape(-1)[:0].float().sum() for parameter in learning]
    return torch.stack([zero.to(zeros[0].device) for zero in zeros]).sum() if zeros else torch.zeros(())


def model_inputs(batch: dict[str, Any], *leave_out: str) -> dict[str, Any]:
    """The entries of a batch that `DeSa2VAModel.forward` takes."""
    return {name: batch[name] for name in MODEL_INPUTS if name in batch and name not in leave_out}


__all__ = ["MODEL_INPUTS", "Objective", "ObjectiveOutput", "connected_zero", "model_inputs"]
