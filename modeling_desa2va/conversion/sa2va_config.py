"""Sa2VA's `config.json` read as a `DeSa2VAConfig` in mode `sa2va`.

The peer's code is never imported: what its classes would compute from the file is written down here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import AutoConfig, PreTrainedConfig, Sam2VideoConfig

from desa2va.configuration.configuration_desa2va import DeSa2VAConfig

SA2VA_MODEL_TYPE = "sa2va_chat"
_QWEN = {"qwen2_5_vl_text": "qwen2_5_vl", "qwen3_vl_text": "qwen3_vl"}
_LANGUAGE = {
    "Qwen2ForCausalLM": "qwen2",
    "Qwen3ForCausalLM": "qwen3",
    "InternLM2ForCausalLM": "llama",
    "LlamaForCausalLM": "llama",
}
# What the published classes assume where a file is silent: files hold differences only.
_VISION_DEFAULTS = {
    "hidden_size": 3200, "num_hidden_layers": 48, "num_attention_heads": 25, "intermediate_size": 12800,
    "hidden_act": "gelu", "norm_type": "rms_norm", "layer_norm_eps": 1e-6, "qkv_bias": False, "qk_normalization": True,
    "image_size": 224, "patch_size": 14, "num_channels": 3, "initializer_factor": 0.1,
}  # fmt: skip
_INTERNLM2_DEFAULTS = {"rms_norm_eps": 1e-6, "max_position_embeddings": 2048, "rope_theta": 10000, "bias": True}
_SA2VA_DEFAULTS = {"ps_version": "v1", "select_layer": -1, "force_image_size": None, "downsample_ratio": 0.5}
# Fields of a stored configuration that describe a run or a class, not the network.
_NOT_THE_NETWORK = frozenset((
    "architectures", "model_type", "auto_map", "torch_dtype", "dtype", "transformers_version", "_name_or_path",
    "_commit_hash", "attn_implementation", "_attn_implementation_autoset", "_attn_implementation_internal",
    "_output_attentions", "output_attentions", "output_hidden_states", "return_dict", "use_cache",
))  # fmt: skip


def sa2va_backbone(config: Mapping[str, Any]) -> str:
    """`"internvl"`, `"qwen2_5_vl"` or `"qwen3_vl"`.

    Raises:
        ValueError: a configuration of neither family, or of a language model that is unknown here.
    """
    if "llm_config" in config:
        return "internvl"
    kind = (config.get("text_config") or {}).get("model_type")
    if kind in _QWEN:
        return _QWEN[kind]
    raise ValueError(
        f"config.json of model_type {SA2VA_MODEL_TYPE!r} has neither llm_config nor a text_config of "
        f"{' or '.join(_QWEN)}, got text_config.model_type={kind!r}"
    )


def read_sa2va_config(
    config: Mapping[str, Any], sam_config: Sam2VideoConfig, seg_token_id: int, image_token_id: int | None
) -> DeSa2VAConfig:
    """The configuration of the model that a published Sa2VA is.

    Args:
        config: the parsed `config.json`. sam_config: of its SAM-2, which the file does not describe.
        seg_token_id: of `[SEG]`. image_token_id: of `<IMG_CONTEXT>` (InternVL; Qwen-VL's file states its own).

    Raises:
        ValueError: an unknown language model, vision tower or pixel shuffle; the message names the field.
    """
    backbone = sa2va_backbone(config)
    mllm = internvl_config(config, image_token_id) if backbone == "internvl" else _qwen_config(config, backbone)
    return DeSa2VAConfig(
        mllm_config=mllm,
        sam_config=sam_config,
        prompt_mode="sa2va",
        projection="mlp",
        fusion="mean",
        num_reprompts=0,
        seg_token_ids=[seg_token_id],
        multimask_output=True,
        key_frames="first",
        num_key_frames=5,
        track_strategy="memory",
        seg_states="raw" if backbone == "qwen3_vl" else "normed",
    )


def _network(config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a stored configuration that describe the network; generation's old defaults left out."""
    return {name: value for name, value in config.items() if name not in _NOT_THE_NETWORK}


def internvl_config(config: Mapping[str, Any], image_token_id: int | None) -> PreTrainedConfig:
    """The configuration of an InternVL, alone or in a Sa2VA, in the layout of its authors.

    Args:
        config: the parsed `config.json`. image_token_id: of `<IMG_CONTEXT>`.

    Raises:
        ValueError: an unknown language model, vision tower or pixel shuffle; the message names the field.
    """
    config = _SA2VA_DEFAULTS | dict(config)
    for name, supported in (("ps_version", "v2"), ("select_layer", -1)):
        if config[name] != supported:
            raise ValueError(f"{name}={config[name]!r} is not supported, only {supported!r} is")
    vision, text = _VISION_DEFAULTS | dict(config["vision_config"]), config["llm_config"]
    architecture = (text.get("architectures") or ["?"])[0]
    if architecture not in _LANGUAGE:
        raise ValueError(f"llm_config.architectures[0]={architecture!r} is unknown; known are {', '.join(_LANGUAGE)}")
    patches = (config["force_image_size"] or vision["image_size"]) // vision["patch_size"]
    return AutoConfig.for_model(
        "internvl",
        vision_config=_vision_config(vision),
        text_config={"model_type": _LANGUAGE[architecture], **_text_config(text, architecture)},
        image_token_id=image_token_id,
        image_seq_length=int((patches * config["downsample_ratio"]) ** 2),
        downsample_ratio=config["downsample_ratio"],
        tie_word_embeddings=False,
    )


def _vision_config(vision: Mapping[str, Any]) -> dict[str, Any]:
    norm = vision["norm_type"]
    if norm not in ("layer_norm", "rms_norm"):
        raise ValueError(f"vision_config.norm_type={norm!r} is unknown; known are layer_norm and rms_norm")
    same = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act")
    side, patch = vision["image_size"], vision["patch_size"]
    return {
        "model_type": "internvl_vision",
        **{name: vision[name] for name in same},
        "attention_bias": vision["qkv_bias"],
        "use_qk_norm": vision["qk_normalization"],
        "norm_type": norm,
        "layer_norm_eps": vision["layer_norm_eps"],
        "image_size": [side, side],
        "patch_size": [patch, patch],
        "num_channels": vision["num_channels"],
        "layer_scale_init_value": vision["initializer_factor"],
        "use_mean_pooling": True,  # the tower has no last norm
    }


def _text_config(text: Mapping[str, Any], architecture: str) -> dict[str, Any]:
    fields = _network(text)
    if architecture == "InternLM2ForCausalLM":
        fields = _INTERNLM2_DEFAULTS | fields
        bias = fields.pop("bias")  # Llama has one for each of its halves
        fields |= {"attention_bias": bias, "mlp_bias": bias}
    if not fields.get("use_sliding_window", False):
        fields["sliding_window"] = None
    fields["tie_word_embeddings"] = False
    return fields


def _qwen_config(config: Mapping[str, Any], backbone: str) -> PreTrainedConfig:
    tokens = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
    text = {**_network(config["text_config"]), "model_type": f"{backbone}_text", "tie_word_embeddings": False}
    return AutoConfig.for_model(
        backbone,
        text_config=text,
        vision_config={**_network(config["vision_config"]), "model_type": config["vision_config"]["model_type"]},
        tie_word_embeddings=False,
        **{name: config[name] for name in tokens},
    )


__all__ = ["SA2VA_MODEL_TYPE", "internvl_config", "read_sa2va_config", "sa2va_backbone"]
