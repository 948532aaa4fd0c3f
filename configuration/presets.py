"""Named configurations: `tiny`, which this project trains and ships, and the published backbones' dimensions.

Enters: a preset name. Leaves: a fresh `DeSa2VAConfig`. No weights are read.
"""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, Sam2VideoConfig
from transformers.models.sam2_video.configuration_sam2_video import Sam2VideoMaskDecoderConfig

from desa2va.configuration.configuration_desa2va import DeSa2VAConfig

TINY_IMAGE_SIZE = 128
TINY_VOCABULARY = 512
# Where the tiny tokenizer puts its control tokens (processing/tiny_tokenizer.py; a test compares them).
TINY_TOKEN_IDS = {"pad": 0, "eos": 2, "image": 5}


def tiny_sam_config(image_size: int = TINY_IMAGE_SIZE) -> Sam2VideoConfig:
    """SAM-2 in miniature: a three-stage Hiera, 64 wide, mask logits at a quarter of `image_size` (pixels, multiple
    of 32).

    Three departures from SAM-2's defaults, each because untrained parts would otherwise act (they are never trained
    here): no multimask outputs, no dynamic multimask, no dropout in the memory attention.
    """
    if image_size % 32 or image_size < 64:
        raise ValueError(f"image_size={image_size} must be a multiple of 32 and at least 64")
    grid, width = image_size // 4, 64
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 16,
        "num_attention_heads": 2,
        "image_size": [image_size, image_size],
        "window_positional_embedding_background_size": [4, 4],
        "blocks_per_stage": [1, 1, 2],
        "embed_dim_per_stage": [16, 32, 64],
        "num_attention_heads_per_stage": [2, 4, 8],
        "window_size_per_stage": [8, 4, 8],
        "global_attention_blocks": [3],
        "num_query_pool_stages": 3,
        "mlp_ratio": 3.0,
    }
    return Sam2VideoConfig(
        vision_config={
            "backbone_config": backbone,
            "backbone_channel_list": [64, 32, 16],
            "backbone_feature_sizes": [[grid, grid], [grid // 2, grid // 2], [grid // 4, grid // 4]],
            "fpn_hidden_size": width,
            "fpn_top_down_levels": [0, 1, 2],
            "num_feature_levels": 3,
        },
        prompt_encoder_config={"hidden_size": width, "image_size": image_size, "patch_size": 16},
        mask_decoder_config=Sam2VideoMaskDecoderConfig(
            hidden_size=width,
            mlp_dim=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            iou_head_hidden_dim=width,
            dynamic_multimask_via_stability=False,
        ),
        image_size=image_size,
        num_maskmem=4,
        max_object_pointers_in_encoder=4,
        multimask_output_in_sam=False,
        multimask_output_for_tracking=False,
        memory_attention_hidden_size=width,
        memory_attention_num_layers=2,
        memory_attention_feed_forward_hidden_size=2 * width,
        memory_attention_rope_feat_sizes=[grid // 4, grid // 4],
        memory_attention_dropout=0.0,
        memory_attention_rope_dropout=0.0,
        memory_encoder_hidden_size=width,
        mask_downsampler_embed_dim=width,
        memory_fuser_embed_dim=width,
        memory_fuser_intermediate_dim=2 * width,
    )


def tiny_config(**overrides: Any) -> DeSa2VAConfig:
    """The shipped model's dimensions: 1.3 M parameters of language model, 0.9 M of segmenter."""
    mllm = AutoConfig.for_model(
        "internvl",
        vision_config={
            "model_type": "internvl_vision",
            "hidden_size": 96,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "intermediate_size": 288,
            "attention_bias": True,
            "layer_scale_init_value": 1.0,
            "image_size": [TINY_IMAGE_SIZE, TINY_IMAGE_SIZE],
            "patch_size": [16, 16],
        },
        text_config={
            "model_type": "qwen2",
            "vocab_size": TINY_VOCABULARY,
            "hidden_size": 128,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "intermediate_size": 384,
            "max_position_embeddings": 2048,
            "tie_word_embeddings": True,
            "pad_token_id": TINY_TOKEN_IDS["pad"],
            "eos_token_id": TINY_TOKEN_IDS["eos"],
            "bos_token_id": None,
        },
        image_token_id=TINY_TOKEN_IDS["image"],
        image_seq_length=16,
        downsample_ratio=0.5,
        tie_word_embeddings=True,
    )
    return DeSa2VAConfig(mllm_config=mllm, sam_config=tiny_sam_config(), **overrides)


INTERNVIT_300M = {
    "model_type": "internvl_vision",
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "attention_bias": True,
}
INTERNVIT_6B = {
    "model_type": "internvl_vision",
    "hidden_size": 3200,
    "num_hidden_layers": 45,
    "num_attention_heads": 25,
    "intermediate_size": 12800,
    "use_qk_norm": True,
    "norm_type": "rms_norm",
}
# Language models by preset: model type, then hidden size, layers, heads, key-value heads, MLP width, vocabulary, tied.
# InternLM2.5 has the Llama architecture under other names and is a `llama` in transformers.
INTERNVL = {
    "1b": ("qwen2", 896, 24, 14, 2, 4864, 151674, False),
    "4b": ("qwen2", 2048, 36, 16, 2, 11008, 151674, False),
    "8b": ("llama", 4096, 32, 32, 8, 14336, 92553, False),
    "26b": ("llama", 6144, 48, 48, 8, 16384, 92553, False),
    "internvl3-2b": ("qwen2", 1536, 28, 12, 2, 8960, 151674, False),
    "internvl3-8b": ("qwen2", 3584, 28, 28, 4, 18944, 151674, False),
    "internvl3-14b": ("qwen2", 5120, 48, 40, 8, 13824, 151674, False),
}
QWEN = {
    "qwen2.5-vl-3b": ("qwen2_5_vl", 2048, 36, 16, 2, 11008, 151936, True),
    "qwen2.5-vl-7b": ("qwen2_5_vl", 3584, 28, 28, 4, 18944, 152064, False),
    "qwen3-vl-4b": ("qwen3_vl", 2560, 36, 32, 8, 9728, 151936, True),
}
IMAGE_TOKEN_ID = {"qwen2": 151667, "llama": 92546}


def sam_large_config() -> Sam2VideoConfig:
    """SAM 2.1 with the large Hiera encoder, 1024 px, as published."""
    return Sam2VideoConfig(
        vision_config={
            "backbone_config": {
                "model_type": "sam2_hiera_det_model",
                "hidden_size": 144,
                "num_attention_heads": 2,
                "blocks_per_stage": [2, 6, 36, 4],
                "embed_dim_per_stage": [144, 288, 576, 1152],
                "num_attention_heads_per_stage": [2, 4, 8, 16],
                "window_size_per_stage": [8, 4, 16, 8],
                "global_attention_blocks": [23, 33, 43],
            },
            "backbone_channel_list": [1152, 576, 288, 144],
        }
    )


def _text_fields(row: tuple) -> dict[str, Any]:
    names = ("model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
    names += ("intermediate_size", "vocab_size", "tie_word_embeddings")
    return dict(zip(names, row, strict=True))


def internvl_config(name: str, **overrides: Any) -> DeSa2VAConfig:
    """InternVL2.5 (`1b`, `4b`, `8b`, `26b`) or InternVL3 with SAM-2 large, dimensions as published."""
    text = _text_fields(INTERNVL[name]) | {"max_position_embeddings": 32768}
    text["rope_parameters"] = {"rope_type": "default", "rope_theta": 1e6}
    mllm = AutoConfig.for_model(
        "internvl",
        vision_config=dict(INTERNVIT_6B if name == "26b" else INTERNVIT_300M),
        text_config=text,
        image_token_id=IMAGE_TOKEN_ID[text["model_type"]],
        image_seq_length=256,
        tie_word_embeddings=False,
    )
    return DeSa2VAConfig(mllm_config=mllm, sam_config=sam_large_config(), **overrides)


def qwen_config(name: str, **overrides: Any) -> DeSa2VAConfig:
    """Qwen2.5-VL or Qwen3-VL with SAM-2 large, dimensions as published."""
    text = _text_fields(QWEN[name])
    model_type, tied = text.pop("model_type"), text["tie_word_embeddings"]
    if model_type == "qwen2_5_vl":
        text["rope_parameters"] = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]}
        vision = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "window_size": 112}
        vision |= {"fullatt_block_indexes": [7, 15, 23, 31], "out_hidden_size": text["hidden_size"]}
    else:
        text |= {"head_dim": 128}
        text["rope_parameters"] = {
            "rope_type": "default",
            "rope_theta": 5e6,
            "mrope_section": [24, 20, 20],
            "mrope_interleaved": True,
        }
        vision = {"depth": 24, "hidden_size": 1024, "intermediate_size": 4096, "num_heads": 16, "patch_size": 16}
        vision |= {"deepstack_visual_indexes": [5, 11, 17], "out_hidden_size": text["hidden_size"]}
    mllm = AutoConfig.for_model(model_type, text_config=text, vision_config=vision, tie_word_embeddings=tied)
    return DeSa2VAConfig(mllm_config=mllm, sam_config=sam_large_config(), **overrides)


def preset_names() -> tuple[str, ...]:
    """All presets, the shipped one first."""
    return ("tiny", *INTERNVL, *QWEN)


def preset_config(name: str, **overrides: Any) -> DeSa2VAConfig:
    """The configuration called `name`, with `overrides` of `DeSa2VAConfig`'s own fields.

    Raises:
        ValueError: an unknown name; the message lists the known ones.
    """
    if name == "tiny":
        return tiny_config(**overrides)
    if name in INTERNVL:
        return internvl_config(name, **overrides)
    if name in QWEN:
        return qwen_config(name, **overrides)
    raise ValueError(f"preset {name!r} is unknown; choose one of {', '.join(preset_names())}")


__all__ = ["preset_config", "preset_names", "sam_large_config", "tiny_config", "tiny_sam_config"]
