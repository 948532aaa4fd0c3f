"""LoRA on the language layers, and the `[SEG]` rows of the embeddings (METHOD section 5, phase 2).

Enters: a model. Leaves: the same model with adapters, or with the adapters merged into its weights.
"""

from __future__ import annotations

from peft import LoraConfig, PeftModel, get_peft_model

from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel

from .arguments import DeSa2VATrainingArguments

TARGETS = (
    r".*language_model\.layers\.\d+\."
    r"(self_attn\.(q|k|v|o)_proj|linear_attn\.(in_proj_qkv|in_proj_z|out_proj)|mlp\.(gate|up|down)_proj)"
)


def attach_lora(model: DeSa2VAModel, arguments: DeSa2VATrainingArguments) -> PeftModel:
    """Adds adapters to the attention and MLP matrices of the language layers and lets the `[SEG]` rows learn.

    The layers are changed in place; `model.mllm` stays what it was. Returns peft's handle for `merge_lora`.
    """
    rows = model.config.seg_token_ids
    tied = model.config.tie_word_embeddings
    config = LoraConfig(
        r=arguments.lora_rank,
        lora_alpha=arguments.lora_alpha,
        target_modules=TARGETS,
        trainable_token_indices={"embed_tokens": rows} if tied else {"embed_tokens": rows, "lm_head": rows},
    )
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    handle = get_peft_model(model.mllm, config)
    for parameter in learning:
        parameter.requires_grad_(True)
    return handle


def merge_lora(model: DeSa2VAModel, handle: PeftModel | None) -> None:
    """Puts the adapters into the weights, so that the saved model needs no peft."""
    if handle is not None:
        model.mllm = handle.merge_and_unload()


__all__ = ["attach_lora", "merge_lora"]
