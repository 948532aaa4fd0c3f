"""Any language model with any SAM-2, as the start of a DeSa2VA."""

from __future__ import annotations

import copy
import inspect
from pathlib import Path
from typing import Any

from torch import nn
from transformers import PreTrainedTokenizerBase

from desa2va.configuration.configuration_desa2va import DeSa2VAConfig
from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel
from desa2va.processing.batch import ChatEncoder

from .language import HEAD, open_language
from .language import Source as LanguageSource
from .loading import below, load_complete
from .sam2 import Source as SamSource
from .sam2 import open_sam2
from .tensors import LazyTensor
from .tokens import SEG, NewRows, add_segmentation_tokens, read_tokenizer, single_token

_EMBEDDING = "model.language_model.embed_tokens.weight"
_FIELDS = frozenset(inspect.signature(DeSa2VAConfig).parameters) - {"mllm_config", "sam_config", "kwargs"}
DECODER = "mask_decoder."


def load_pair(
    mllm: LanguageSource, sam2: SamSource, tokenizer: PreTrainedTokenizerBase | None = None, **fields: Any
) -> DeSa2VAModel:
    """A DeSa2VA of two parts: decoders copied from SAM-2's, projections and gate anew, rows for `[SEG]` and the like.

    Args:
        mllm: folder or loaded model, see `open_language`. sam2: folder, `.pt` file or loaded model, see `open_sam2`.
        tokenizer: of the language model, which gets the tokens it lacks, in place; read from the folder when omitted.
        fields: of `DeSa2VAConfig`, and options of `from_pretrained` (`dtype`, `device_map`, ...).

    Returns:
        The model in evaluation mode. It draws nothing sensible before it is trained.

    Raises:
        ValueError: see `open_language`, `open_sam2`, `load_complete`; or no tokenizer. FileNotFoundError: no weights.
    """
    if tokenizer is None:
        if isinstance(mllm, nn.Module):
            raise ValueError("a loaded language model needs its tokenizer beside it: from_parts(..., tokenizer=...)")
        tokenizer = read_tokenizer(Path(mllm))
    chosen = {name: fields.pop(name) for name in list(fields) if name in _FIELDS}
    with open_language(mllm, tokenizer) as language, open_sam2(sam2) as sam:
        mllm_config = copy.deepcopy(language.config)
        text = mllm_config.get_text_config()
        new = add_segmentation_tokens(tokenizer, text.vocab_size)
        text.vocab_size = new.rows
        text.eos_token_id = _ends(text.eos_token_id, tokenizer)
        chosen.setdefault("seg_token_ids", [single_token(tokenizer, SEG)])
        config = DeSa2VAConfig(mllm_config, sam.config, **chosen)
        state = below("mllm.", _with_rows(language.state, new)) | sam_state(sam.state, config)
        where = f"{_name(language.where)} with {_name(sam.where)}"
        return load_complete(DeSa2VAModel, where, config, state, fresh=("decoupling.", "fusion."), **fields)


def _ends(stated: int | list[int] | None, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Ids that end an answer: what the configuration states, the tokenizer's, and the token that the chat template
    writes after one. That is what training teaches, and published configurations often state another.
    """
    ends = {*(stated if isinstance(stated, (list, tuple)) else [stated]), tokenizer.eos_token_id}
    if tokenizer.chat_template is not None:
        ends.update(ChatEncoder(tokenizer, []).template(("user", "assistant"), False)[-1][:1])
    return sorted(ends - {None})


def sam_state(
    state: dict[str, LazyTensor], config: DeSa2VAConfig, decoders: dict[str, LazyTensor] | None = None
) -> dict[str, LazyTensor]:
    """SAM-2's tensors in their places in `DeSa2VAModel`.

    Args:
        state: of `Sam2VideoModel`. config: of the whole model. decoders: of the mask decoder that the language
            decoders start from, where it is not SAM-2's.
    """
    if decoders is None:
        decoders = state
    decoder = {name.removeprefix(DECODER): value for name, value in decoders.items() if name.startswith(DECODER)}
    places = below("segmenter.sam.", state) | below("segmenter.visual_decoder.", decoder)
    return places | (below("segmenter.text_decoder.", decoder) if config.prompt_mode == "desa2va" else {})


def _with_rows(state: dict[str, LazyTensor], new: NewRows) -> dict[str, LazyTensor]:
    if not new.ids:
        return state
    tables = {name: LazyTensor([(state[name].parts[0][0], new)]) for name in (_EMBEDDING, HEAD) if name in state}
    return state | tables


def _name(where: Path | str) -> str:
    return where if isinstance(where, str) else where.name


__all__ = ["load_pair", "sam_state"]
