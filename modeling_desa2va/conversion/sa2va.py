"""A published Sa2VA, read as a `DeSa2VAModel` in mode `sa2va` while it is loaded: nothing is written, nothing of the
peer's code is imported.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase, Sam2VideoConfig

from desa2va.configuration.configuration_desa2va import DeSa2VAConfig
from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel

from .checkpoint import read_json_object, weight_files
from .loading import Part, arrange, below, load_complete
from .names import Place, internvl_places, prefixed, sam_places
from .parts import sam_state
from .sa2va_config import read_sa2va_config, sa2va_backbone
from .sa2va_processor import TEMPLATES
from .sam2 import Source as SamSource
from .sam2 import open_sam2
from .sam2_config import recognise_hiera, sam2_config, stated_sizes
from .tensors import LazyTensor, Tensors, open_tensors
from .tokens import IMAGE_CONTEXT, SEG, single_token

logger = logging.getLogger(__name__)

SAM_PREFIX = "grounding_encoder.sam2_model."


def load_sa2va(
    folder: Path,
    tokenizer: PreTrainedTokenizerBase,
    sam2: SamSource | None = None,
    init_desa2va: bool = False,
    **options: Any,
) -> DeSa2VAModel:
    """The model of a published Sa2VA.

    Args:
        folder: with `config.json` and safetensors. tokenizer: of the same folder.
        sam2: untouched weights for the tracker, of the size that Sa2VA tuned; its own decoder stays with the language.
            Strategy `consistent` is the default then.
        init_desa2va: read it as the start of a DeSa2VA instead: both decoders are the tuned one, W_v and W_t its
            projection; W_l is new.
        options: of `DeSa2VAModel.from_pretrained` (`dtype`, `device_map`, `quantization_config`, ...).

    Returns:
        The model in evaluation mode, strategy `memory` (Sa2VA's own) as default where `sam2` is not given.

    Raises:
        ValueError: a file that is damaged, a tensor that has no place here, or a parameter that no tensor fills; the
            message names it. FileNotFoundError: weights are absent.
    """
    file = folder / "config.json"
    stated = read_json_object(file)
    with ExitStack() as stack:
        tensors = stack.enter_context(open_tensors(weight_files(folder)))
        seg, image = single_token(tokenizer, SEG), _image_token(stated, tokenizer)
        try:
            config = read_sa2va_config(stated, sam2_config(_sam_sizes(stated, tensors)), seg, image)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{file} can not be read as a Sa2VA: {error}") from error
        text = config.get_text_config()
        if len(tokenizer) > text.vocab_size:
            raise ValueError(f"{file} has {text.vocab_size} embedding rows, the tokenizer {len(tokenizer)} tokens")
        text.eos_token_id, text.pad_token_id = _ends(stated, tokenizer, text.eos_token_id), tokenizer.pad_token_id
        state = arrange(tensors, lambda name: sa2va_places(name, text.num_attention_heads, text.num_key_value_heads))
        pristine = None if sam2 is None else stack.enter_context(open_sam2(sam2))
        if init_desa2va:
            config = _as_desa2va(config)
        state = _with_sam2(config, state, pristine)
        if init_desa2va:
            visual = "decoupling.visual."
            copies = {name.removeprefix(visual): value for name, value in state.items() if name.startswith(visual)}
            state |= below("decoupling.text.", copies)
        fresh = ("decoupling.label.", "fusion.") if init_desa2va else ()
        model = load_complete(DeSa2VAModel, folder, config, state, fresh, **options)
    return model


def _ends(stated: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase, eos: int | None) -> list[int]:
    """Ids that end an answer: the language model's end token; with InternVL also the tokenizer's, and the one of the
    prompt format. They belong to the configuration, which is saved with the model.
    """
    ends = {eos}
    if sa2va_backbone(stated) == "internvl":
        stop = TEMPLATES[stated["template"]][1]
        ends |= {tokenizer.eos_token_id, tokenizer.get_vocab().get(stop)}
    return sorted(ends - {None})


def _image_token(stated: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase) -> int | None:
    """Of InternVL, whose file does not state it."""
    return single_token(tokenizer, IMAGE_CONTEXT) if "llm_config" in stated else None


def _as_desa2va(config: DeSa2VAConfig) -> DeSa2VAConfig:
    """No re-prompt: an untrained one costs masks, and the last phase brings one back."""
    config.prompt_mode, config.fusion = "desa2va", "gate"
    config.check()
    return config


def _with_sam2(config: DeSa2VAConfig, state: dict[str, LazyTensor], pristine: Part | None) -> dict[str, LazyTensor]:
    """The state of the whole model, its SAM-2 replaced by untouched weights where there are any."""
    prefix = "segmenter.sam."
    tuned = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    others = {name: value for name, value in state.items() if not name.startswith(prefix)}
    if pristine is None:
        logger.warning(
            "The tracker runs on the weights that Sa2VA tuned; give untouched ones (sam2=..., --sam2) for masks that "
            "hold over a video"
        )
        return others | sam_state(tuned, config)
    if _size(pristine.config) != _size(config.sam_config):
        raise ValueError(
            f"{pristine.where}: this SAM-2 has blocks {_size(pristine.config)}, Sa2VA tuned one with "
            f"{_size(config.sam_config)}; its decoder reads that encoder alone"
        )
    if pristine.config.enable_occlusion_spatial_embedding != config.sam_config.enable_occlusion_spatial_embedding:
        logger.warning("Sa2VA's decoder was tuned on SAM 2.0; on the encoder of SAM 2.1 its masks may be worse")
    config.sam_config, config.track_strategy = pristine.config, "consistent"
    return others | sam_state(pristine.state, config, tuned)


def _size(config: Sam2VideoConfig) -> tuple[int, ...]:
    backbone = config.vision_config.backbone_config
    return backbone.hidden_size, *backbone.blocks_per_stage


def sa2va_places(name: str, num_heads: int, num_kv_heads: int) -> list[Place]:
    """Places in `DeSa2VAModel` of one tensor."""
    if name.startswith(SAM_PREFIX):
        return prefixed("segmenter.sam.", sam_places(name.removeprefix(SAM_PREFIX)))
    if name.startswith("text_hidden_fcs."):
        return [Place("decoupling.visual.layers." + name.removeprefix("text_hidden_fcs."))]
    if name.startswith("model."):  # Qwen-VL lies one level deeper, under the names of transformers
        return [Place("mllm." + name.removeprefix("model."))]
    return prefixed("mllm.", internvl_places(name, num_heads, num_kv_heads))


def _sam_sizes(stated: Mapping[str, Any], tensors: Tensors) -> dict[str, Any]:
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


__all__ = ["load_sa2va", "sa2va_places"]
