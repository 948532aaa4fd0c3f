"""Which parts of the model stay as they are when it is loaded quantised.

Enters: a quantisation configuration of transformers, of any method. Leaves: the same, with our own parts left out.
Quantised are the linears of the language layers alone: projections, gate and SAM-2 compute in float32 with weights
that other code reads (`precision`), the output head and the embeddings hold the rows of `[SEG]`, and what the vision
tower rounds away no mask brings back.
"""

from __future__ import annotations

import copy
from typing import Any

from torch import nn
from transformers.quantizers import AutoQuantizationConfig

# Names that quantisers look for in a module's path.
VISION = ("mllm.model.vision_tower", "mllm.model.multi_modal_projector", "mllm.model.visual")
NOT_QUANTISED = ("segmenter", "decoupling", "fusion", "lm_head", *VISION)
# Every method has a list of its own of what it leaves alone.
_LISTS = ("modules_to_not_convert", "llm_int8_skip_modules", "skip_modules", "linear_weights_not_to_quantize")


def without_own_parts(quantization_config: Any) -> Any:
    """A copy of a quantisation configuration that leaves our parts alone too.

    Args:
        quantization_config: of transformers, or its dictionary. The caller's own list is extended, not replaced.

    Raises:
        ValueError: a method without such a list, which would quantise everything.
    """
    if isinstance(quantization_config, dict):
        quantization_config = AutoQuantizationConfig.from_dict(quantization_config)
    left_out = copy.deepcopy(quantization_config)
    names = [name for name in _LISTS if hasattr(left_out, name)]
    if not names:
        raise ValueError(
            f"{type(left_out).__name__} has no list of modules that stay as they are, and {', '.join(NOT_QUANTISED)} "
            "must; use one that has, such as BitsAndBytesConfig"
        )
    for name in names:
        own = list(getattr(left_out, name) or [])
        setattr(left_out, name, own + [part for part in NOT_QUANTISED if part not in own])
    return left_out


def keep_as_stored(model: nn.Module) -> None:
    """Four-bit weights stay in the layout they are stored in.

    On CPUs with bfloat16 instructions bitsandbytes packs them anew at the first answer. Its way back, which every
    `state_dict` takes, leaves the scales of blocks transposed: what was saved, and the model itself from then on, gave
    other masks. Costs speed on such a CPU.
    """
    for module in model.modules():
        if getattr(module, "support_avx512bf16_for_cpu", False):
            module.support_avx512bf16_for_cpu = False


__all__ = ["NOT_QUANTISED", "keep_as_stored", "without_own_parts"]
