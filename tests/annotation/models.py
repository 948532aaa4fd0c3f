"""Tiny random image-text-to-text models as `AutoModelForImageTextToText` loads them."""

import torch
from transformers import (
    AutoModelForImageTextToText,
    GotOcr2ImageProcessor,
    InternVLProcessor,
    InternVLVideoProcessor,
    PreTrainedTokenizerFast,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)

from desa2va.processing.tiny_tokenizer import CHAT_TEMPLATE, build_tiny_tokenizer
from tests.modeling_desa2va.conftest import TILE, VISION_TOKENS, internvl_config, qwen_config

WORDS = ["yes no Yes No the a red blue object moves to left right small large in of and it is stays beside"]


def tiny_describer(folder, family):
    """Saves a random model of two layers with its processor; `family`: `"qwen2_5_vl"` or `"internvl"`."""
    tokenizer = build_tiny_tokenizer(WORDS)
    tokenizer.add_special_tokens({"additional_special_tokens": VISION_TOKENS})
    template = CHAT_TEMPLATE
    if family == "qwen2_5_vl":
        template = template.replace("<IMG_CONTEXT>\n", "<|vision_start|><|image_pad|><|vision_end|>")
        size = {"shortest_edge": 28 * 28, "longest_edge": 56 * 56}
        pixels = Qwen2VLImageProcessor(size=size)
        processor = Qwen2_5_VLProcessor(pixels, tokenizer, Qwen2VLVideoProcessor(), chat_template=template)
        config = qwen_config(family, tokenizer)
    else:
        pixels = GotOcr2ImageProcessor(size={"height": TILE, "width": TILE}, crop_to_patches=False)
        names = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>"}
        tokenizer.save_pretrained(folder)
        names["video_token"] = "<|video_pad|>"
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, extra_special_tokens=names)
        processor = InternVLProcessor(pixels, tokenizer, InternVLVideoProcessor(), 4, chat_template=template)
        config = internvl_config("qwen2", tokenizer)
    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_config(config)
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight, std=module.in_features**-0.5)
    head = model.get_output_embeddings().weight
    spoken = [token for word in " ".join(WORDS).split() for token in tokenizer.encode(" " + word)]
    with torch.no_grad():  # nothing but words is said
        silent = torch.ones(len(head), dtype=torch.bool)
        silent[[token for token in spoken if token > 265]] = False
        head[silent] = 0
        head[~silent] += 0.5 * head[~silent].abs().mean()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
