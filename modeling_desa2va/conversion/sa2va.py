"""A published Sa2VA, read as a `DeSa2VAModel` in mode `sa2va` while it is loaded: nothing is written, nothing of the
peer's code is imported.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from transformers import GenerationConfig, PreTrainedTokenizerBase

from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel

from .checkpoint import read_json_object, weight_files
from .names import Place, internvl_places, prefixed, sam_places
from .sa2va_config import read_sa2va_config, sa2va_backbone
from .sa2va_processor import TEMPLATES
from .sam2_config import recognise_hiera, sam2_config, stated_sizes
from .tensors import LazyTensor, StoredTensor, open_tensors

SAM_PREFIX = "grounding_encoder.sam2_model."
SEG, IMAGE_CONTEXT = "[SEG]", "<IMG_CONTEXT>"
# Tables that are computed anew; older versions of the peer's language models stored them.
DROPPED = re.compile(r".*\.rotary_emb\.inv_freq$")


def load_sa2va(folder: Path, tokenizer: PreTrainedTokenizerBase, **options: Any) -> DeSa2VAModel:
    """The model of a published Sa2VA.

    Args:
        folder: with `config.json` and safetensors. tokenizer: of the same folder. options: of
            `DeSa2VAModel.from_pretrained` (`dtype`, `device_map`, `quantization_config`, ...).

    Returns:
        The model in evaluation mode, strategy `memory` (Sa2VA's own) as default.

    Raises:
        ValueError: a file that is damaged, a tensor that has no place here, or a parameter that no tensor fills; the
            message names it. FileNotFoundError: weights are absent.
    """
    stated = read_json_object(folder / "config.json")
    with open_tensors(weight_files(folder)) as tensors:
        config = read_sa2va_config(
            stated, sam2_config(_sam_sizes(stated, tensors)), _token(tokenizer, SEG), _image_token(tokenizer, stated)
        )
        text = config.get_text_config()
        state = arrange(tensors, text.num_attention_heads, text.num_key_value_heads)
        model = load_complete(folder, config, state, **options)
    model.mllm.generation_config = _generation_config(stated, tokenizer, text.eos_token_id)
    return model


def _generation_config(stated: dict[str, Any], tokenizer: PreTrainedTokenizerBase, eos: int) -> GenerationConfig:
    """Greedy, as the peer; an answer ends with the language model's end token or the one of the prompt format."""
    stop = TEMPLATES[stated["template"]][1] if sa2va_backbone(stated) == "internvl" else None
    ends = {eos} | ({tokenizer.convert_tokens_to_ids(stop)} if stop in tokenizer.get_vocab() else set())
    return GenerationConfig(do_sample=False, eos_token_id=sorted(ends), pad_token_id=tokenizer.pad_token_id)


def load_complete(folder: Path, config: Any, state: dict[str, LazyTensor], **options: Any) -> DeSa2VAModel:
    """Fills a model with `state`; every parameter must be filled and every tensor used.

    Raises:
        ValueError: naming the first parameters without a tensor, tensors without a parameter, or other shapes.
    """
    model, info = DeSa2VAModel.from_pretrained(
        None, config=config, state_dict=state, output_loading_info=True, ignore_mismatched_sizes=True, **options
    )
    for kind, what in (
        ("missing_keys", "no tensor fills"),
        ("unexpected_keys", "there is no parameter for"),
        ("mismatched_keys", "the shapes differ of"),
    ):
        names = sorted(str(name) for name in info[kind])
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise ValueError(f"{folder} is no complete checkpoint: {what} {', '.join(names[:3])}{more}")
    return model.eval()


def arrange(tensors: dict[str, StoredTensor], num_heads: int, num_kv_heads: int) -> dict[str, LazyTensor]:
    """Stored tensors of a Sa2VA by the names of our parameters.

    Args:
        tensors: of the checkpoint. num_heads, num_kv_heads: of the language model.

    Raises:
        ValueError: a tensor that has no place.
    """
    parts: dict[str, list[tuple[int, StoredTensor, Any]]] = {}
    for name, stored in tensors.items():
        if DROPPED.match(name):
            continue
        places = sa2va_places(name, num_heads, num_kv_heads)
        if not places:
            raise ValueError(f"{stored.file}: the tensor {name} has no place in the model")
        for place in places:
            parts.setdefault(place.name, []).append((place.order or 0, stored, place.take))
    return {
        target: LazyTensor([(stored, take) for _, stored, take in sorted(found, key=lambda part: part[0])])
        for target, found in parts.items()
    }


def sa2va_places(name: str, num_heads: int, num_kv_heads: int) -> list[Place]:
    """Places in `DeSa2VAModel` of one tensor; the tuned mask decoder is SAM-2's and the visual decoder."""
    if name.startswith(SAM_PREFIX):
        places = prefixed("segmenter.sam.", sam_places(name.removeprefix(SAM_PREFIX)))
        decoder = "segmenter.sam.mask_decoder."
        copies = [
            Place("segmenter.visual_decoder." + place.name.removeprefix(decoder), place.take, place.order)
            for place in places
            if place.name.startswith(decoder)
        ]
        return places + copies
    if name.startswith("text_hidden_fcs."):
        return [Place("decoupling.visual.layers." + name.removeprefix("text_hidden_fcs."))]
    if name.startswith("model."):  # Qwen-VL lies one level deeper, under the names of transformers
        return [Place("mllm." + name.removeprefix("model."))]
    return prefixed("mllm.", internvl_places(name, num_heads, num_kv_heads))


def _sam_sizes(stated: dict[str, Any], tensors: dict[str, StoredTensor]) -> dict[str, Any]:
    """SAM-2's sizes: stated in the file (`_sam_tiny`, or `_hiera_tiny` and `_sam_image_size`, which no published
    checkpoint has), else those of the published encoder that the tensors are.
    """
    if "_sam_tiny" in stated:
        return stated["_sam_tiny"]
    if "_hiera_tiny" in stated:
        return {"hiera": stated["_hiera_tiny"], "image_size": stated["_sam_image_size"]}
    shapes = {
        name.removeprefix(SAM_PREFIX): stored.shape for name, stored in tensors.items() if name.startswith(SAM_PREFIX)
    }
    return stated_sizes(recognise_hiera(shapes))


def _image_token(tokenizer: PreTrainedTokenizerBase, stated: dict[str, Any]) -> int | None:
    return _token(tokenizer, IMAGE_CONTEXT) if sa2va_backbone(stated) == "internvl" else None


def _token(tokenizer: PreTrainedTokenizerBase, text: str) -> int:
    """The id of a control token.

    Raises:
        ValueError: the tokenizer has no such token, or spells it with several.
    """
    ids = tokenizer.encode(text, add_special_tokens=False)
    if len(ids) != 1 or tokenizer.convert_ids_to_tokens(ids[0]) != text:
        raise ValueError(f"the tokenizer must have {text} as one token, got {ids} ({tokenizer.name_or_path})")
    return ids[0]


__all__ = ["arrange", "load_complete", "load_sa2va", "sa2va_places"]
