"""Language models with vision, as published, to be paired with a SAM-2: InternVL in its authors' layout and in that of
transformers, Qwen2.5-VL, Qwen3-VL, Qwen3.5.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from .checkpoint import read_json_object, weight_files
from .loading import Part, arrange
from .names import Place, internvl_places
from .sa2va_config import internvl_config
from .tensors import module_tensors, open_tensors
from .tokens import IMAGE_CONTEXT, single_token

INTERNVL_CHAT = "internvl_chat"
# Old names of transformers' own layouts; new ones stay as they are.
_RENAMED: dict[str, tuple[tuple[str, str], ...]] = {
    "internvl": (
        (r"language_model\.model\.", "model.language_model."),
        (r"language_model\.lm_head\.", "lm_head."),
        (r"(vision_tower|multi_modal_projector)\.", r"model.\1."),
    ),
    "qwen2_5_vl": ((r"visual\.", "model.visual."), (r"model\.(?!language_model\.|visual\.)", "model.language_model.")),
    "qwen3_vl": (),
    "qwen3_5": (),
}
LANGUAGE_TYPES = (INTERNVL_CHAT, *_RENAMED)
HEAD = "lm_head.weight"

Source = str | os.PathLike | nn.Module


@contextmanager
def open_language(source: Source, tokenizer: PreTrainedTokenizerBase | None = None) -> Iterator[Part]:
    """A language model as a `Part`, its tensors to be read inside the context.

    Args:
        source: a folder with `config.json` and safetensors, or a loaded model. tokenizer: of it; InternVL in its
            authors' layout needs it to know its image token.

    Raises:
        ValueError: another architecture, a damaged file, a tensor that has no place. FileNotFoundError: no weights.
    """
    if isinstance(source, nn.Module):
        kind = getattr(getattr(source, "config", None), "model_type", None)
        if not isinstance(source, PreTrainedModel) or kind not in _RENAMED:
            raise ValueError(
                f"mllm must be a model of type {', '.join(_RENAMED)}, got {kind or type(source).__name__}"
            )
        yield Part(source.config, arrange(module_tensors(source), lambda name: [Place(name)]), kind)
        return
    folder = Path(source)
    file = folder / "config.json"
    stated = read_json_object(file)
    kind = stated.get("model_type")
    if kind not in LANGUAGE_TYPES:
        raise ValueError(f"{file}: model_type={kind!r} is not supported; {', '.join(LANGUAGE_TYPES)} are")
    image = _image_token(kind, tokenizer)
    with open_tensors(weight_files(folder)) as tensors:
        try:
            config = _config(folder, stated, image)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{file} can not be read as {kind}: {error}") from error
        state = arrange(tensors, _places(kind, config))
        if HEAD not in state:
            config.tie_word_embeddings = config.get_text_config().tie_word_embeddings = True
        elif kind == INTERNVL_CHAT or not config.tie_word_embeddings:
            config.tie_word_embeddings = config.get_text_config().tie_word_embeddings = False
        else:
            del state[HEAD]  # a second copy of the embedding
        yield Part(config, state, folder)


def _image_token(kind: str, tokenizer: PreTrainedTokenizerBase | None) -> int | None:
    """Of InternVL in its authors' layout, whose file does not state it."""
    if kind != INTERNVL_CHAT:
        return None
    if tokenizer is None:
        raise ValueError(f"a tokenizer is needed to find {IMAGE_CONTEXT}")
    return single_token(tokenizer, IMAGE_CONTEXT)


def _config(folder: Path, stated: Mapping[str, Any], image_token_id: int | None) -> PreTrainedConfig:
    if stated["model_type"] != INTERNVL_CHAT:
        return AutoConfig.from_pretrained(folder, trust_remote_code=False)
    return internvl_config(stated, image_token_id)


def _places(kind: str, config: Any) -> Callable[[str], list[Place]]:
    text = config.get_text_config()
    if kind == INTERNVL_CHAT:
        return lambda name: internvl_places(name, text.num_attention_heads, text.num_key_value_heads)

    def places(name: str) -> list[Place]:
        for pattern, target in _RENAMED[kind]:
            if re.match(pattern, name):
                return [Place(re.sub(rf"^{pattern}", target, name))]
        return [Place(name)]

    return places


__all__ = ["HEAD", "INTERNVL_CHAT", "LANGUAGE_TYPES", "open_language"]
