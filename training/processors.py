"""Processors for presets that have no published tokenizer: today the tiny one.

Enters: a preset's name. Leaves: a `DeSa2VAProcessor` whose vocabulary holds every RefShapes word as one token.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import GotOcr2ImageProcessor, Sam2ImageProcessor

from desa2va.configuration.presets import INTERNVL, TINY_IMAGE_SIZE, TINY_VOCABULARY
from desa2va.processing.processing_desa2va import DeSa2VAProcessor
from desa2va.processing.tiny_tokenizer import build_tiny_tokenizer

from .data.refshapes import CAPTION_REQUEST, vocabulary_corpus


def preset_processor(preset: str, fields: dict[str, Any]) -> DeSa2VAProcessor:
    """The processor that belongs to a fresh model of `preset`.

    Args:
        fields: the model's overrides; `seg_design`, `num_seg_frames`, `key_frames`, `num_key_frames` are shared with
            it.

    Raises:
        ValueError: a preset whose processor is published with its weights.
    """
    if preset != "tiny":
        raise ValueError(f"preset {preset!r} is trained from published weights: give them as `init_from`")
    shared = {
        name: fields[name]
        for name in ("seg_design", "num_seg_frames", "key_frames", "num_key_frames")
        if name in fields
    }
    tokenizer = build_tiny_tokenizer(vocabulary_corpus(), max_size=TINY_VOCABULARY)
    if shared.get("seg_design") == "unique":
        shared["seg_tokens"] = _add_unique_tokens(tokenizer, shared["num_seg_frames"])
    side = {"height": TINY_IMAGE_SIZE, "width": TINY_IMAGE_SIZE}
    processor = DeSa2VAProcessor(
        image_processor=GotOcr2ImageProcessor(size=side, crop_to_patches=False),
        tokenizer=tokenizer,
        sam_image_processor=Sam2ImageProcessor(size=side, mask_size={"height": 32, "width": 32}),
        mllm_type="internvl",
        image_seq_length=16,
        max_tiles=1,
        max_length=2048,
        gcg_instruction=CAPTION_REQUEST,
        **shared,
    )
    switch_image_size(processor, fields)
    return processor


def shape_processor(preset: str) -> DeSa2VAProcessor:
    """A processor with the picture sizes and limits of a preset and the tiny vocabulary, where shapes are what counts.

    Raises:
        ValueError: a Qwen-VL, whose processor is published with its weights.
    """
    if preset == "tiny":
        return preset_processor(preset, {})
    if preset not in INTERNVL:
        raise ValueError(f"preset {preset!r} has a processor of its own: name its folder as init_from")
    tokenizer = build_tiny_tokenizer(vocabulary_corpus(), max_size=TINY_VOCABULARY)
    tile, side = {"height": 448, "width": 448}, {"height": 1024, "width": 1024}
    return DeSa2VAProcessor(
        image_processor=GotOcr2ImageProcessor(size=tile, crop_to_patches=False),
        tokenizer=tokenizer,
        sam_image_processor=Sam2ImageProcessor(size=side, mask_size={"height": 256, "width": 256}),
        mllm_type="internvl",
        image_seq_length=256,
        gcg_instruction=CAPTION_REQUEST,
    )


def switch_seg_design(processor: DeSa2VAProcessor, model: Any, fields: dict[str, Any]) -> None:
    """Lets a trained model and its processor speak another `[SEG]` design (Sa2VA table 12), in place.

    Args:
        processor, model: of one checkpoint with the design `"single"`. fields: changes of the configuration;
            `seg_design` and `num_seg_frames` are read, and `seg_token_ids` is added for `"unique"`. Unique tokens
            start as copies of the token they replace.

    Raises:
        ValueError: more tokens than the embedding has rows for.
    """
    design = fields.get("seg_design", processor.seg_design)
    if design == processor.seg_design:
        return
    known = processor.seg_token_ids[0]
    processor.seg_design, processor.num_seg_frames = design, fields.get("num_seg_frames", 1)
    if design == "unique":
        processor.seg_tokens = _add_unique_tokens(processor.tokenizer, processor.num_seg_frames)
        ids = processor.seg_token_ids
        rows = model.get_input_embeddings().weight
        if max(ids) >= len(rows):
            raise ValueError(
                f"{len(ids)} unique [SEG] tokens need {max(ids) + 1} embedding rows, the model has {len(rows)}"
            )
        with torch.no_grad():
            for weight in {rows, model.get_output_embeddings().weight}:
                weight[ids] = weight[known].clone()
        fields["seg_token_ids"] = ids
    processor._check()


def switch_image_size(processor: DeSa2VAProcessor, fields: dict[str, Any]) -> None:
    """Lets a processor make SAM-2's pictures of the size that `fields["image_size"]` names, in place; mask logits
    have a quarter of it.
    """
    if "image_size" not in fields:
        return
    side = fields["image_size"]
    processor.sam_image_processor.size = {"height": side, "width": side}
    processor.sam_image_processor.mask_size = {"height": side // 4, "width": side // 4}


def _add_unique_tokens(tokenizer: Any, count: int) -> list[str]:
    tokens = [f"[SEG{number}]" for number in range(count)]
    tokenizer.add_special_tokens({"additional_special_tokens": tokens}, replace_extra_special_tokens=False)
    return tokens


__all__ = ["preset_processor", "shape_processor", "switch_image_size", "switch_seg_design"]
