"""LoRA on the language layers, and the `[SEG]` rows of the embeddings (METHOD section 5, phase 2).

Enters: a model. Leaves: the same model with adapters, or with the adapters merged into its weights; and, where the
model began as another one, what was learned as a folder of peft's.
"""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from peft import PeftModel, get_peft_model_state_dict

from desa2va.adapters import HEADS, lora_config, with_adapter, write_adapter
from desa2va.configuration.configuration_desa2va import DeSa2VAConfig
from desa2va.hub import resolve
from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel
from desa2va.published import published_kind

from .arguments import DeSa2VATrainingArguments
from .start_weights import StartWeights

logger = logging.getLogger(__name__)
_TOKENS = ("seg_design", "num_seg_frames", "seg_token_ids")


def attach_lora(model: DeSa2VAModel, arguments: DeSa2VATrainingArguments) -> PeftModel:
    """Adds adapters to the attention and MLP matrices of the language layers and lets the `[SEG]` rows learn.

    The layers are changed in place; `model.mllm` stays what it was. Returns peft's handle for `merge_lora`.
    """
    config = lora_config(model, arguments.lora_rank, arguments.lora_alpha, arguments.lora_dropout)
    config.modules_to_save = None  # the heads learn as they are
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    handle = with_adapter(model.mllm, config)
    for parameter in learning:
        parameter.requires_grad_(True)
    return handle


def merge_lora(model: DeSa2VAModel, handle: PeftModel | None) -> None:
    """Puts the adapters into the weights, so that the saved model needs no peft."""
    if handle is not None:
        model.mllm = handle.merge_and_unload()


class KeptAdapter:
    """What LoRA learned, taken before it is merged.

    Args:
        handle: of `attach_lora`. base: what the stage began with: a folder, a Hub id or a shipped model's name.
    """

    def __init__(self, handle: PeftModel, base: str) -> None:
        self.config, self.base = handle.peft_config["default"], base
        found = get_peft_model_state_dict(handle, save_embedding_layers=False)
        self.weights = {
            name.replace("base_model.model.", "base_model.model.mllm.", 1): value.detach().to("cpu", torch.float32)
            for name, value in found.items()
        }

    def write(self, folder: Path, model: DeSa2VAModel) -> None:
        """Writes the adapter, with the heads of `model`, into a new folder."""
        write_adapter(folder, model, self.config, self.weights, self.base)


def keep_adapter(model: DeSa2VAModel, handle: PeftModel | None, start: StartWeights | None) -> KeptAdapter | None:
    """What LoRA learned, where that and the heads are all that became of the start; else `None`, and the log says why.

    Args:
        model: trained, not merged. handle: of `attach_lora`. start: of the model that the stage began with.
    """
    if handle is None or start is None:
        return None
    if published_kind(start.name) is not None:
        logger.info("no adapter is written: %s is no model of ours; convert it first to get one", start.name)
        return None
    before = DeSa2VAConfig.from_pretrained(resolve(start.name))
    others = [name for name in start.differing(model) if not name.startswith(tuple(f"{head}." for head in HEADS))]
    others += start.unpaired(model)
    others += [name for name in _TOKENS if getattr(before, name) != getattr(model.config, name)]
    if others:
        logger.info(
            "no adapter is written: %s and %d more are not those of %s", others[0], len(others) - 1, start.name
        )
        return None
    return KeptAdapter(handle, start.name)


__all__ = ["KeptAdapter", "attach_lora", "keep_adapter", "merge_lora"]
