"""QLoRA: the frozen linears of the language layers in four bits, LoRA and heads beside them in full precision.

Enters: a model folder. Leaves: the model to train with; and, when it has learned, the same model on the weights as
they are stored, so that what is merged and saved was never rounded to four bits. (Engineering; no paper section.)
"""

from __future__ import annotations

import torch
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from torch import nn
from transformers import BitsAndBytesConfig

from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel

from .arguments import DeSa2VATrainingArguments
from .language_adapters import attach_lora
from .start_weights import StartWeights, digest


def four_bits(dtype: torch.dtype) -> BitsAndBytesConfig:
    """NF4 with doubly quantised scales, as QLoRA; products are computed in `dtype`."""
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


def tell_peft(model: DeSa2VAModel) -> DeSa2VAModel:
    """The model; where it was loaded in four bits its language model says so too: peft asks the module it wraps."""
    if getattr(model, "is_loaded_in_4bit", False):
        model.mllm.is_loaded_in_4bit = True
    return model


def is_in_four_bits(model: DeSa2VAModel) -> bool:
    """Whether the linears of its language layers are in four bits."""
    return getattr(model.mllm, "is_loaded_in_4bit", False)


def in_full_precision(
    model: DeSa2VAModel,
    handle: PeftModel | None,
    arguments: DeSa2VATrainingArguments,
    start: StartWeights,
    stored: nn.Module,
) -> PeftModel | None:
    """Puts the stored language model in place of the one in four bits, in `model`, with what LoRA learned.

    Args:
        handle: of `attach_lora`; `None` where nothing of the language model learned. start: the weights the stage
            began with; those of the language model are told anew. stored: the language model as it is stored.

    Returns:
        The handle of the new adapters.
    """
    learned = get_peft_model_state_dict(handle, save_embedding_layers=False) if handle is not None else {}
    start.digests |= {f"mllm.{name}": digest(value) for name, value in stored.named_parameters(remove_duplicate=False)}
    free = {name for name, value in model.named_parameters() if value.requires_grad}
    model.mllm = stored.to(model.device).requires_grad_(False)
    model.is_loaded_in_4bit = model.is_quantized = False
    model.hf_quantizer = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    if handle is None:
        return None
    new = attach_lora(model, arguments)
    set_peft_model_state_dict(new, learned)
    for name, value in model.named_parameters():
        value.requires_grad_(name in free)
    return new


__all__ = ["four_bits", "in_full_precision", "is_in_four_bits", "tell_peft"]
