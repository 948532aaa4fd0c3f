"""Named configurations: `tiny`, which this project trains and ships, and the published backbones' dimensions.

Enters: a preset name. Leaves: a fresh `DeSa2VAConfig`. No weights are read.
"""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, Sam2VideoConfig

from desa2va.configuration.configuration_desa2va import DeSa2VAConfig

TINY_IMAGE_SIZE = 128
TINY_VOCABULARY = 512
# Where the tiny tokenizer puts its control tokens (processing/tiny_tokenizer.py; a test compares them).
TINY_TOKEN_IDS = {"pad": 0, "eos": 2, "image": 5}


def tiny_sam_config(image_size: int = TINY_IMAGE_SIZE) -> Sam2VideoConfig:
    """SAM-2 in miniature: a three-stage Hiera, 64 wide, mask logits at a quarter of `image_size` (pixels, multiple of 32).

    Three departures from SAM-2's defaults, each because untrained parts would otherwise act (they are never trained here):
    no multimask outputs, no dynamic multimask, no dropout in the memory attention.
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
        mask_decoder_config={
            "hidden_size": width,
            "mlp_dim": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "iou_head_hidden_dim": width,
            "dynamic_multimask_via_stability": False,
        },
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


def preset_config(name: str, **overrides: Any) -> DeSa2VAConfig:
    """The configuration called `name`, with `overrides` of `DeSa2VAConfig`'s own fields.

    Raises:
        ValueError: an unknown name; the message lists the known ones.
    """
    builders = {"tiny": tiny_config}
    if name not in builders:
        raise ValueError(f"preset {name!r} is unknown; choose one of {', '.join(sorted(builders))}")
    return builders[name](**overrides)


__all__ = ["preset_config", "tiny_config", "tiny_sam_config"]
