"""The processor of a published Sa2VA: its tokenizer, the pixels and the prompts it was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import (
    GotOcr2ImageProcessor,
    LlamaTokenizer,
    PreTrainedTokenizerBase,
    Qwen2VLImageProcessor,
    Sam2ImageProcessor,
)

from desa2va.processing.batch import PIXEL_RULE
from desa2va.processing.processing_desa2va import DeSa2VAProcessor

from .checkpoint import read_json_object
from .sa2va_config import sa2va_backbone
from .tokens import read_tokenizer

# A user's turn and the opening of the answer, per `template`; and what ends an answer.
_CHATML = (
    "{% for message in messages %}{% if message['role'] == 'user' %}<|im_start|>user\n{{ message['content'] }}"
    "<|im_end|>\n<|im_start|>assistant\n{% else %}{{ message['content'] }}<|im_end|>\n{% endif %}{% endfor %}"
)
_PHI3 = (
    "{% for message in messages %}{% if message['role'] == 'user' %}<|user|>\n{{ message['content'] }}<|end|>\n"
    "<|assistant|>\n{% else %}{{ message['content'] }}<|end|>\n{% endif %}{% endfor %}"
)
TEMPLATES = {
    "qwen_chat": (_CHATML, "<|im_end|>"),
    "internlm2_chat": (_CHATML, "<|im_end|>"),
    "phi3_chat": (_PHI3, "<|end|>"),
}
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
# The peer rounds SAM-2's mean and deviation, which are ImageNet's, to bfloat16.
SAM_MOMENTS = ([0.484375, 0.455078125, 0.40625], [0.228515625, 0.2236328125, 0.224609375])
_QWEN_PIXELS = {"shortest_edge": 512 * 28 * 28, "longest_edge": 2048 * 28 * 28}


def sa2va_processor(folder: Path, sam_image_size: int) -> DeSa2VAProcessor:
    """The processor of a published Sa2VA.

    Args:
        folder: with `config.json` and the tokenizer's files. sam_image_size: side of SAM-2's input, pixels.

    Raises:
        ValueError: an unknown template or tokenizer.
    """
    stated = read_json_object(folder / "config.json")
    backbone = sa2va_backbone(stated)
    tokenizer = sa2va_tokenizer(folder, stated)
    mean, deviation = SAM_MOMENTS
    sam = Sam2ImageProcessor(
        size={"height": sam_image_size, "width": sam_image_size},
        image_mean=mean,
        image_std=deviation,
        pixel_rule=PIXEL_RULE,
    )
    common: dict[str, Any] = {
        "tokenizer": tokenizer,
        "sam_image_processor": sam,
        "mllm_type": backbone,
        "key_frames": "first",
        "num_key_frames": 5,
        "prompt_rule": "sa2va",
    }
    if backbone == "internvl":
        stop = TEMPLATES[stated["template"]][1]
        known = stop in tokenizer.get_vocab()
        return DeSa2VAProcessor(
            stop_strings=None if known else [stop],
            image_processor=internvl_pixels(stated["force_image_size"], pixel_rule=PIXEL_RULE),
            image_seq_length=int((stated["force_image_size"] // 14 * stated["downsample_ratio"]) ** 2),
            max_tiles=stated["max_dynamic_patch"],
            **common,
        )
    pixels = qwen_pixels(folder, pixel_rule=PIXEL_RULE)
    return DeSa2VAProcessor(image_processor=pixels, merge_size=pixels.merge_size, **common)


def sa2va_tokenizer(folder: Path, stated: dict[str, Any]) -> PreTrainedTokenizerBase:
    """The tokenizer of a published Sa2VA; remote code is not run.

    Raises:
        ValueError: a template or a tokenizer class that is unknown here.
    """
    tokenizer = read_tokenizer(folder)
    if sa2va_backbone(stated) == "internvl":
        template = stated.get("template")
        if template not in TEMPLATES:
            raise ValueError(f"{folder}: template={template!r} is unknown; known are {', '.join(TEMPLATES)}")
        begin = "{{ '" + tokenizer.bos_token + "' }}" if isinstance(tokenizer, LlamaTokenizer) else ""
        tokenizer.chat_template = begin + TEMPLATES[template][0]
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def internvl_pixels(side: int, **fields: Any) -> GotOcr2ImageProcessor:
    """InternVL's image processor for tiles of `side` pixels."""
    mean, deviation = IMAGENET
    size = {"height": side, "width": side}
    return GotOcr2ImageProcessor(size=size, image_mean=mean, image_std=deviation, **fields)


def qwen_pixels(folder: Path, **more: Any) -> Qwen2VLImageProcessor:
    """The stored image processor with the numbers of pixels that the peer passes in its calls."""
    stored = read_json_object(folder / "preprocessor_config.json")
    fields = ("patch_size", "merge_size", "temporal_patch_size", "image_mean", "image_std", "resample")
    return Qwen2VLImageProcessor(
        **{name: stored[name] for name in fields if stored.get(name) is not None},
        size=_QWEN_PIXELS,
        **more,
    )


__all__ = ["TEMPLATES", "internvl_pixels", "qwen_pixels", "sa2va_processor", "sa2va_tokenizer"]
