"""The processor of a language model that was paired with a SAM-2."""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedTokenizerBase, Sam2ImageProcessor

from desa2va.configuration.configuration_desa2va import DeSa2VAConfig
from desa2va.processing.processing_desa2va import DeSa2VAProcessor

from .checkpoint import read_json_object
from .sa2va_processor import TEMPLATES, internvl_pixels, qwen_pixels


def pair_processor(folder: Path, tokenizer: PreTrainedTokenizerBase, config: DeSa2VAConfig) -> DeSa2VAProcessor:
    """The processor of a model that `load_pair` made; pictures are read as DeSa2VA reads them.

    Args:
        folder: of the language model. tokenizer: that `load_pair` was given, with its new tokens.
        config: of the model.

    Raises:
        ValueError: see `DeSa2VAProcessor`.
    """
    mllm = config.mllm_config
    if tokenizer.chat_template is None:
        tokenizer.chat_template = TEMPLATES["qwen_chat"][0]
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    side = config.image_size
    shared = {
        "tokenizer": tokenizer,
        "sam_image_processor": Sam2ImageProcessor(
            size={"height": side, "width": side}, mask_size={"height": side // 4, "width": side // 4}
        ),
        "mllm_type": mllm.model_type,
        "key_frames": config.key_frames,
        "num_key_frames": config.num_key_frames,
    }
    if mllm.model_type == "internvl":
        tiles = read_json_object(folder / "config.json").get("max_dynamic_patch", 12)
        pixels = internvl_pixels(mllm.vision_config.image_size[0])
        return DeSa2VAProcessor(pixels, image_seq_length=mllm.image_seq_length, max_tiles=tiles, **shared)
    pixels = qwen_pixels(folder)
    return DeSa2VAProcessor(pixels, merge_size=pixels.merge_size, **shared)


__all__ = ["pair_processor"]
