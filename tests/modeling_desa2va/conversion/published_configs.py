"""`config.json` of the published models in miniature, as the peers' `save_pretrained` leaves it, and beside each what
it describes, in the words of transformers.

Head counts are the published ones, so that groups of queries are; widths are small.
"""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, Sam2VideoConfig
from transformers.models.sam2_video.configuration_sam2_video import Sam2VideoMaskDecoderConfig

# The ten: family, heads, key heads, template of the prompt.
SA2VA = {
    "Sa2VA-1B": ("qwen2", 14, 2, "qwen_chat"),
    "Sa2VA-4B": ("qwen2", 16, 2, "phi3_chat"),
    "Sa2VA-8B": ("internlm2", 32, 8, "internlm2_chat"),
    "Sa2VA-26B": ("internlm2", 48, 8, "internlm2_chat"),
    "Sa2VA-InternVL3-2B": ("qwen2", 12, 2, "qwen_chat"),
    "Sa2VA-InternVL3-8B": ("qwen2", 28, 4, "qwen_chat"),
    "Sa2VA-InternVL3-14B": ("qwen2", 40, 8, "qwen_chat"),
    "Sa2VA-Qwen2_5-VL-3B": ("qwen2_5_vl", 16, 2, "qwen_chat"),
    "Sa2VA-Qwen2_5-VL-7B": ("qwen2_5_vl", 28, 4, "qwen_chat"),
    "Sa2VA-Qwen3-VL-4B": ("qwen3_vl", 32, 8, "qwen_chat"),
}
# Ids below the added tokens: the bytes, in InternLM2 with four pieces more.
PIECES = {"internlm2": 260}
_CHAT = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
_INTERNLM2 = ["<|plugin|>", "<|interpreter|>", "<|action_end|>", "<|action_start|>", "<|im_end|>", "<|im_start|>"]
_INTERN = ["<img>", "</img>", "<IMG_CONTEXT>", "<quad>", "</quad>", "<ref>", "</ref>", "<box>", "</box>"]
_VISION = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
SEGMENTATION = ["[SEG]", "<p>", "</p>", "<vp>", "</vp>"]


def added_tokens(family: str, segmentation: bool = True) -> list[str]:
    """Added tokens in the order of their ids, the first of which follows the bytes."""
    vision = _VISION if "vl" in family or family == "qwen3_5" else _INTERN
    return (_INTERNLM2 if family == "internlm2" else _CHAT) + vision + SEGMENTATION * segmentation


def token_id(family: str, token: str) -> int:
    """The id of an added token."""
    return PIECES.get(family, 256) + added_tokens(family).index(token)


def vocabulary_size(family: str, segmentation: bool = True) -> int:
    """Rows that the embedding needs."""
    return PIECES.get(family, 256) + len(added_tokens(family, segmentation))


def begin_and_end(family: str) -> tuple[int, int]:
    """Ids of the tokens that begin and end a text."""
    return (1, 2) if family == "internlm2" else (256, 258)


# ------------------------------------------------------------------------------------------------ SAM-2

SAM_TINY = {
    "image_size": 256,
    "d_model": 64,
    "mem_dim": 64,
    "memory_attention_layers": 2,
    "memory_attention_ffn": 128,
    "fuser_layers": 2,
    "mask_decoder_mlp_dim": 128,
    "mask_decoder_heads": 8,
    "iou_head_hidden_dim": 64,
    "hiera": {
        "embed_dim": 16,
        "num_heads": 1,
        "stages": [1, 2, 3, 1],
        "global_att_blocks": [2, 4],
        "window_pos_embed_bkg_spatial_size": [7, 7],
        "window_spec": [8, 4, 16, 8],
    },
}
# Widths, heads, blocks, global blocks, background and windows of the four published encoders.
HIERA = {
    "tiny": ([96, 192, 384, 768], [1, 2, 4, 8], [1, 2, 7, 2], [5, 7, 9], [7, 7], [8, 4, 14, 7]),
    "small": ([96, 192, 384, 768], [1, 2, 4, 8], [1, 2, 11, 2], [7, 10, 13], [7, 7], [8, 4, 14, 7]),
    "base_plus": ([112, 224, 448, 896], [2, 4, 8, 16], [2, 3, 16, 3], [12, 16, 20], [14, 14], [8, 4, 14, 7]),
    "large": ([144, 288, 576, 1152], [2, 4, 8, 16], [2, 6, 36, 4], [23, 33, 43], [7, 7], [8, 4, 16, 8]),
}


def _backbone(widths, heads, blocks, global_blocks, background, windows, **more):
    return {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": widths[0],
        "num_attention_heads": heads[0],
        "embed_dim_per_stage": widths,
        "num_attention_heads_per_stage": heads,
        "blocks_per_stage": blocks,
        "global_attention_blocks": global_blocks,
        "window_positional_embedding_background_size": background,
        "window_size_per_stage": windows,
        **more,
    }


def published_sam_config(hiera: str, version: str) -> Sam2VideoConfig:
    """A published SAM-2 as transformers describes it, 1024 px."""
    backbone = _backbone(*HIERA[hiera])
    return Sam2VideoConfig(
        vision_config={"backbone_config": backbone, "backbone_channel_list": HIERA[hiera][0][::-1]},
        enable_temporal_pos_encoding_for_object_pointers=version == "2.1",
        enable_occlusion_spatial_embedding=version == "2.1",
    )


def tiny_sam_config(version: str = "2.0") -> Sam2VideoConfig:
    """What `SAM_TINY` describes."""
    widths = [16, 32, 64, 128]
    backbone = _backbone(widths, [1, 2, 4, 8], [1, 2, 3, 1], [2, 4], [7, 7], [8, 4, 16, 8], image_size=[256, 256])
    return Sam2VideoConfig(
        vision_config={
            "backbone_config": backbone,
            "backbone_channel_list": widths[::-1],
            "backbone_feature_sizes": [[64, 64], [32, 32], [16, 16]],
            "fpn_hidden_size": 64,
        },
        prompt_encoder_config={"image_size": 256, "hidden_size": 64},
        mask_decoder_config=Sam2VideoMaskDecoderConfig(hidden_size=64, mlp_dim=128, iou_head_hidden_dim=64),
        image_size=256,
        memory_attention_hidden_size=64,
        memory_attention_num_layers=2,
        memory_attention_feed_forward_hidden_size=128,
        memory_attention_rope_feat_sizes=[16, 16],
        memory_encoder_hidden_size=64,
        memory_encoder_output_channels=64,
        mask_downsampler_embed_dim=64,
        memory_fuser_embed_dim=64,
        memory_fuser_intermediate_dim=256,
        enable_temporal_pos_encoding_for_object_pointers=version == "2.1",
        enable_occlusion_spatial_embedding=version == "2.1",
    )


# ------------------------------------------------------------------------------------------------ InternVL


def internvl_files(family: str, heads: int, kv_heads: int, vocabulary: int, six_billion: bool) -> dict[str, Any]:
    """Fields of `config.json` that an InternVL and a Sa2VA on it share."""
    begin, end = begin_and_end(family)
    same = {
        "hidden_size": 4 * heads, "intermediate_size": 8 * heads, "max_position_embeddings": 32768,
        "num_attention_heads": heads, "num_hidden_layers": 2, "num_key_value_heads": kv_heads,
        "vocab_size": vocabulary, "bos_token_id": begin, "eos_token_id": end,
    }  # fmt: skip
    llm = {
        "architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0, "hidden_act": "silu",
        "initializer_range": 0.02, "max_window_layers": 70, "model_type": "qwen2", "rms_norm_eps": 1e-06,
        "rope_scaling": None, "rope_theta": 1000000.0, "sliding_window": None, "use_cache": True,
        "use_sliding_window": False,
    }  # fmt: skip
    if family == "internlm2":
        llm = {
            "_attn_implementation_autoset": True, "architectures": ["InternLM2ForCausalLM"],
            "attn_implementation": "eager", "bias": False, "model_type": "internlm2", "pad_token_id": end,
            "rms_norm_eps": 1e-05, "rope_scaling": {"factor": 2.0, "type": "dynamic"}, "rope_theta": 1000000,
        }  # fmt: skip
    if family == "qwen3":
        llm |= {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "head_dim": 8, "attention_bias": False}
    vision = {
        "architectures": ["InternVisionModel"], "attention_dropout": 0.0, "drop_path_rate": 0.0, "dropout": 0.0,
        "hidden_act": "gelu", "hidden_size": 32, "image_size": 448, "initializer_factor": 0.1,
        "initializer_range": 1e-10, "intermediate_size": 64, "layer_norm_eps": 1e-06, "model_type": "intern_vit_6b",
        "num_attention_heads": 2, "num_channels": 3, "num_hidden_layers": 2, "use_flash_attn": False,
    }  # fmt: skip
    if not six_billion:  # the tower of six billion is the peer's default and is not spelled out
        vision |= {"norm_type": "layer_norm", "qk_normalization": False, "qkv_bias": True}
    return {
        "downsample_ratio": 0.5, "dynamic_image_size": True, "force_image_size": 448, "hidden_size": 4 * heads,
        "llm_config": llm | same, "max_dynamic_patch": 12, "min_dynamic_patch": 1, "pad2square": False,
        "ps_version": "v2", "select_layer": -1, "tie_word_embeddings": False,
        ("torch_dtype" if family == "internlm2" else "dtype"): "bfloat16",
        "transformers_version": None, "use_backbone_lora": 0, "use_llm_lora": 0, "use_thumbnail": True,
        "vision_config": vision,
    }  # fmt: skip


def internvl_native(family: str, heads: int, kv_heads: int, vocabulary: int, six_billion: bool) -> Any:
    """What `internvl_files` describes."""
    begin, end = begin_and_end(family)
    text = {
        "vocab_size": vocabulary,
        "hidden_size": 4 * heads,
        "intermediate_size": 8 * heads,
        "num_hidden_layers": 2,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6,
        "bos_token_id": begin,
        "eos_token_id": end,
        "tie_word_embeddings": False,
        "max_window_layers": 70,
        "model_type": "qwen2",
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
    }
    if family == "internlm2":
        text |= {"model_type": "llama", "rms_norm_eps": 1e-5, "attention_bias": False, "pad_token_id": end}
        text["rope_parameters"] = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e6}
        del text["max_window_layers"]
    if family == "qwen3":
        text |= {"model_type": "qwen3", "head_dim": 8, "attention_bias": False}
    return AutoConfig.for_model(
        "internvl",
        vision_config={
            "model_type": "internvl_vision",
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": [448, 448],
            "patch_size": [14, 14],
            "norm_type": "rms_norm" if six_billion else "layer_norm",
            "use_qk_norm": six_billion,
            "attention_bias": not six_billion,
        },
        text_config=text,
        image_token_id=token_id(family, "<IMG_CONTEXT>"),
        image_seq_length=256,
        downsample_ratio=0.5,
        tie_word_embeddings=False,
    )


# ------------------------------------------------------------------------------------------------ Qwen-VL


def _qwen_text(family: str, heads: int, kv_heads: int, vocabulary: int) -> dict[str, Any]:
    width = 64 if family == "qwen3_vl" else 8 * heads
    text = {
        "attention_dropout": 0.0, "bos_token_id": 256, "dtype": "bfloat16", "eos_token_id": 258,
        "hidden_act": "silu", "hidden_size": width, "initializer_range": 0.02, "intermediate_size": 2 * width,
        "max_position_embeddings": 128000, "model_type": f"{family}_text", "num_attention_heads": heads,
        "num_hidden_layers": 3, "num_key_value_heads": kv_heads, "rms_norm_eps": 1e-06, "use_cache": True,
        "vocab_size": vocabulary,
    }  # fmt: skip
    if family == "qwen3_vl":
        scaling = {"mrope_interleaved": True, "mrope_section": [2, 1, 1], "rope_type": "default"}
        return text | {"attention_bias": False, "head_dim": 8, "rope_scaling": scaling, "rope_theta": 5000000}
    scaling = {"mrope_section": [1, 1, 2], "rope_type": "default", "type": "default"}
    return text | {
        "architectures": ["Sa2VAChatModelQwen"], "layer_types": ["full_attention"] * 3, "max_window_layers": 70,
        "rope_scaling": scaling, "rope_theta": 1000000.0, "sliding_window": None, "use_sliding_window": False,
    }  # fmt: skip


def _qwen_vision(family: str, width: int) -> dict[str, Any]:
    vision = {
        "depth": 3, "hidden_size": 32, "in_channels": 3, "initializer_range": 0.02, "intermediate_size": 64,
        "model_type": family, "num_heads": 2, "out_hidden_size": width, "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    }  # fmt: skip
    if family == "qwen3_vl":
        return vision | {
            "deepstack_visual_indexes": [0, 1], "hidden_act": "gelu_pytorch_tanh", "num_position_embeddings": 64,
            "patch_size": 16,
        }  # fmt: skip
    return vision | {
        "fullatt_block_indexes": [1], "hidden_act": "silu", "in_chans": 3, "patch_size": 14, "spatial_patch_size": 14,
        "tokens_per_second": 2, "window_size": 56,
    }  # fmt: skip


def qwen_files(family: str, heads: int, kv_heads: int, vocabulary: int) -> dict[str, Any]:
    """Fields of `config.json` that a Qwen-VL and a Sa2VA on it share."""
    text = _qwen_text(family, heads, kv_heads, vocabulary)
    tokens = {"image_pad": "image", "video_pad": "video", "vision_start": "vision_start", "vision_end": "vision_end"}
    return {
        "dtype": "bfloat16",
        **{f"{name}_token_id": token_id(family, f"<|{token}|>") for token, name in tokens.items()},
        "text_config": text,
        "tie_word_embeddings": False,
        "transformers_version": "4.57.6",
        "vision_config": _qwen_vision(family, text["hidden_size"]),
    }


def qwen_native(family: str, heads: int, kv_heads: int, vocabulary: int, tied: bool = False) -> Any:
    """What `qwen_files` describes."""
    files = qwen_files(family, heads, kv_heads, vocabulary)
    text = {name: value for name, value in files["text_config"].items() if name not in ("architectures", "dtype")}
    text["rope_parameters"] = {**text.pop("rope_scaling"), "rope_theta": text.pop("rope_theta")}
    text["rope_parameters"].pop("type", None)
    text["tie_word_embeddings"] = tied
    tokens = {name: value for name, value in files.items() if name.endswith("token_id")}
    return AutoConfig.for_model(
        family, text_config=text, vision_config=files["vision_config"], tie_word_embeddings=tied, **tokens
    )


def qwen3_5_native(vocabulary: int) -> Any:
    """Qwen3.5: a layer of linear attention and one of full attention."""
    text = {
        "vocab_size": vocabulary,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "layer_types": ["linear_attention", "full_attention"],
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
    }
    vision = {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 64}
    tokens = {
        f"{name}_token_id": token_id("qwen3_vl", f"<|{name}{pad}|>")
        for name, pad in (("image", "_pad"), ("video", "_pad"), ("vision_start", ""), ("vision_end", ""))
    }
    return AutoConfig.for_model("qwen3_5", text_config=text, vision_config=vision, tie_word_embeddings=False, **tokens)
