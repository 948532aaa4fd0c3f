"""Processors for presets that have no published tokenizer: today the tiny one.

Enters: a preset's name. Leaves: a `DeSa2VAProcessor` whose vocabulary holds every RefShapes word as one token.
"""

from __future__ import annotations

from typing import Any

from transformers import GotOcr2ImageProcessor, Sam2ImageProcessor

from desa2va.configuration.presets import TINY_IMAGE_SIZE, TINY_VOCABULARY
from desa2va.processing.processing_desa2va import DeSa2VAProcessor
from desa2va.processing.tiny_tokenizer import build_tiny_tokenizer
from desa2va.training.data.refshapes_language import vocabulary_corpus
from desa2va.training.data.refshapes_questions import CAPTION_REQUEST


def preset_processor(preset: str, fields: dict[str, Any]) -> DeSa2VAProcessor:
    """The processor that belongs to a fresh model of `preset`.

    Args:
        fields: the model's overrides; `seg_design`, `num_seg_frames`, `key_frames`, `num_key_frames` are shared with
            it.

    Raises:
        ValueError: a preset whose processor is published with its weights.
    """
    if preset != "tiny":
        raise ValueError(
            f"preset {preset!r} is trained from published weights: give `init_from` a converted model folder"
        )
    shared = {
        name: fields[name]
        for name in ("seg_design", "num_seg_frames", "key_frames", "num_key_frames")
        if name in fields
    }
    tokenizer = build_tiny_tokenizer(vocabulary_corpus(), max_size=TINY_VOCABULARY)
    if shared.get("seg_design") == "unique":
        tokens = [f"[SEG{number}]" for number in range(shared["num_seg_frames"])]
        tokenizer.add_special_tokens({"additional_special_tokens": tokens}, replace_extra_special_tokens=False)
        shared["seg_tokens"] = tokens
    side = {"height": TINY_IMAGE_SIZE, "width": TINY_IMAGE_SIZE}
    return DeSa2VAProcessor(
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


__all__ = ["preset_processor"]
