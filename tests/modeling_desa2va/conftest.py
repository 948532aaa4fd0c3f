"""A tiny random model with a Qwen-VL language model, and its processor."""

import pytest
import torch
from transformers import AutoConfig, Qwen2VLImageProcessor, Sam2ImageProcessor

from desa2va.configuration.configuration_desa2va import DeSa2VAConfig
from desa2va.configuration.presets import tiny_sam_config
from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel
from desa2va.processing.processing_desa2va import DeSa2VAProcessor
from desa2va.processing.tiny_tokenizer import build_tiny_tokenizer

VISION_TOKENS = ["<|vision_start|>", "<|image_pad|>", "<|vision_end|>", "<|video_pad|>"]


@pytest.fixture(scope="session")
def make_qwen():
    """Builds `(model, processor)` for a backbone; weights are large enough that pictures change the states."""

    def make(backbone):
        tokenizer = build_tiny_tokenizer(["find the red circle", "blue square star"])
        tokenizer.add_special_tokens({"additional_special_tokens": VISION_TOKENS})
        pixels = Qwen2VLImageProcessor(size={"shortest_edge": 28 * 28, "longest_edge": 56 * 84})
        sam = Sam2ImageProcessor(size={"height": 128, "width": 128})
        processor = DeSa2VAProcessor(pixels, tokenizer, sam, mllm_type=backbone)
        torch.manual_seed(0)
        mllm, tokens = qwen_config(backbone, tokenizer), processor.seg_token_ids
        model = DeSa2VAModel(DeSa2VAConfig(mllm, tiny_sam_config(), seg_token_ids=tokens)).eval()
        for module in model.modules():
            if isinstance(module, torch.nn.Linear):
                torch.nn.init.normal_(module.weight, std=module.in_features**-0.5)
        return model, processor

    return make


def qwen_config(backbone, tokenizer):
    """Two layers of text and of vision; Qwen3-VL hands on the features of vision layer 0."""
    start, image, end, video = tokenizer.convert_tokens_to_ids(VISION_TOKENS)
    text = {"vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    text |= {"num_attention_heads": 4, "num_key_value_heads": 2, "bos_token_id": None}
    text |= {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    text["rope_parameters"] = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [1, 1, 2]}
    vision = {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 32}
    vision |= {"patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2}
    if backbone == "qwen3_vl":
        text["head_dim"] = 8
        text["rope_parameters"] |= {"mrope_section": [2, 1, 1], "mrope_interleaved": True}
        vision |= {"num_position_embeddings": 64, "deepstack_visual_indexes": [0]}
    else:
        vision |= {"window_size": 56, "fullatt_block_indexes": [1]}
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
