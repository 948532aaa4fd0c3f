"""Tiny random models of every language-model family, each with its processor."""

import os
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, GotOcr2ImageProcessor, Qwen2VLImageProcessor, Sam2ImageProcessor

from desa2va.configuration.configuration_desa2va import DeSa2VAConfig
from desa2va.configuration.presets import tiny_sam_config
from desa2va.modeling_desa2va.conversion import load_sa2va, sa2va_processor
from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel
from desa2va.processing.processing_desa2va import DeSa2VAProcessor
from desa2va.processing.tiny_tokenizer import build_tiny_tokenizer
from tests.built_once import built_once

VISION_TOKENS = ["<|vision_start|>", "<|image_pad|>", "<|vision_end|>", "<|video_pad|>"]
CORPUS = ["find the red circle", "blue square star", "Sure it is", "seconds < > . :"]
TILE = 32  # pixels; an InternVL tile of four tokens


@pytest.fixture(scope="session")
def make_backbone():
    """Builds `(model, processor)`: `"qwen2_5_vl"`, `"qwen3_vl"`, `"qwen3_5"`, or `"internvl/"` and a text model.

    Weights are large enough that pictures change the states. `sam`: `"2.0"` or `"2.1"`. Further fields are those
    of `DeSa2VAConfig`.
    """

    def make(backbone, sam="2.0", **fields):
        family, _, text = backbone.partition("/")
        tokenizer = build_tiny_tokenizer(CORPUS)
        tokenizer.add_special_tokens({"additional_special_tokens": VISION_TOKENS})
        if family == "internvl":
            pixels, more = GotOcr2ImageProcessor(size={"height": TILE, "width": TILE}), {"image_seq_length": 4}
            mllm = internvl_config(text, tokenizer)
        else:
            pixels, more = Qwen2VLImageProcessor(size={"shortest_edge": 28 * 28, "longest_edge": 56 * 84}), {}
            mllm = qwen_config(family, tokenizer)
        sam_pixels = Sam2ImageProcessor(size={"height": 128, "width": 128})
        processor = DeSa2VAProcessor(pixels, tokenizer, sam_pixels, mllm_type=family, **more)
        torch.manual_seed(0)
        config = DeSa2VAConfig(mllm, sam_config(sam), seg_token_ids=processor.seg_token_ids, **fields)
        model = DeSa2VAModel(config).eval()
        for module in model.modules():
            if isinstance(module, torch.nn.Linear):
                torch.nn.init.normal_(module.weight, std=module.in_features**-0.5)
        return model, processor

    return built_once(make)


@pytest.fixture(scope="session")
def make_qwen(make_backbone):
    """`make_backbone` for tests about Qwen-VL alone."""
    return make_backbone


def sam_config(version):
    """SAM 2.1 differs from 2.0 in two switches of the memory."""
    config = tiny_sam_config()
    config.enable_temporal_pos_encoding_for_object_pointers = version == "2.1"
    config.enable_occlusion_spatial_embedding = version == "2.1"
    return config


def text_fields(tokenizer):
    """Two layers."""
    text = {"vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    text |= {"num_attention_heads": 4, "num_key_value_heads": 2, "bos_token_id": None}
    return text | {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}


def internvl_config(text, tokenizer):
    """InternVL on a Qwen2, Qwen3 or Llama of two layers."""
    heads = {"head_dim": 8} if text == "qwen3" else {}
    vision = {"model_type": "internvl_vision", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    vision |= {"num_attention_heads": 2, "image_size": [TILE, TILE], "patch_size": [8, 8], "attention_bias": True}
    return AutoConfig.for_model(
        "internvl",
        vision_config={**vision, "layer_scale_init_value": 1.0},
        text_config={"model_type": text, **text_fields(tokenizer), **heads, "tie_word_embeddings": False},
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=4,
        downsample_ratio=0.5,
        tie_word_embeddings=False,
    )


def qwen_config(backbone, tokenizer):
    """Two layers of text and of vision; Qwen3-VL hands on the features of vision layer 0, Qwen3.5's first text layer
    is recurrent.
    """
    start, image, end, video = tokenizer.convert_tokens_to_ids(VISION_TOKENS)
    text = text_fields(tokenizer)
    text["rope_parameters"] = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [1, 1, 2]}
    vision = {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 32}
    vision |= {"patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2}
    if backbone == "qwen2_5_vl":
        vision |= {"window_size": 56, "fullatt_block_indexes": [1]}
    else:
        text["head_dim"] = 8
        text["rope_parameters"] |= {"mrope_section": [2, 1, 1], "mrope_interleaved": True}
        vision |= {"num_position_embeddings": 64}
    if backbone == "qwen3_vl":
        vision |= {"deepstack_visual_indexes": [0]}
    if backbone == "qwen3_5":
        text |= {"layer_types": ["linear_attention", "full_attention"], "head_dim": 16}
        text["rope_parameters"]["partial_rotary_factor"] = 0.5
        text |= {"linear_num_key_heads": 2, "linear_num_value_heads": 4}
        text |= {"linear_key_head_dim": 8, "linear_value_head_dim": 8}
    return AutoConfig.for_model(
        backbone,
        text_config=text,
        vision_config=vision,
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=end,
        tie_word_embeddings=False,
    )


@pytest.fixture(scope="session")
def stored_peer():
    """`stored_peer(layout)`: a model and its processor from the folder of a stored run of Sa2VA's own code."""
    shared = Path(os.environ.get("DESA2VA_SHARED", Path(__file__).resolve().parents[3] / "shared"))
    known = {}

    def load(layout):
        if layout not in known:
            folder = shared / "peer_golden" / layout
            processor = sa2va_processor(folder, 256)
            model = load_sa2va(folder, processor.tokenizer, dtype=torch.float32)
            model.processor = processor
            known[layout] = model, processor
        return known[layout]

    return load
