"""New words for a tiny model: rows behind those it has, so that trained weights are continued from.

A stage's data and its processor enter, words that its vocabulary lacks leave; a model and its processor enter, both
know the words afterwards. Words of RefShapes' later kinds are learnt where a stage asks for such a kind, and no other
stage is changed. (Engineering; no paper section.)
"""

from __future__ import annotations

import logging
from typing import Any

import torch

from desa2va.processing.tiny_tokenizer import extend_tiny_tokenizer, is_tiny_tokenizer

from .data.refshapes import LATER_KINDS, later_words

logger = logging.getLogger(__name__)


def missing_words(data: dict[str, Any], processor: Any) -> list[str]:
    """The words that RefShapes' kinds in section `data` of a configuration need and a tiny vocabulary lacks.

    Args:
        data: the section: one data set, or `parts`. processor: of the model the stage begins with; one of another
            vocabulary than the tiny one lacks no word, since it spells any.
    """
    kinds = {
        kind for part in (data, *data.get("parts", ())) for kind in (part.get("options") or {}).get("kinds") or ()
    }
    if not kinds & set(LATER_KINDS) or not is_tiny_tokenizer(processor.tokenizer):
        return []
    known = processor.tokenizer.get_vocab()
    return [word for word in later_words() if word not in known or f"Ġ{word}" not in known]


@torch.no_grad()
def learn_words(model: Any, processor: Any, words: list[str]) -> None:
    """Gives a tiny model and its processor new words, in place; ids and rows of known words stay.

    A new row starts as the mean of the rows that spelled the word, and one the model had spare is taken first; the
    embedding grows where none is left.

    Args:
        model: a `DeSa2VAModel`. processor: its processor, with a tiny tokenizer. words: new or known.
    """
    if not words:
        return
    spelled = extend_tiny_tokenizer(processor.tokenizer, words)
    needed = max(spelled, default=0) + 1
    if needed > len(model.get_input_embeddings().weight):
        model.mllm.resize_token_embeddings(needed, mean_resizing=False)
        model.config.mllm_config.get_text_config().vocab_size = needed
    weights = {
        id(layer.weight): layer.weight for layer in (model.get_input_embeddings(), model.get_output_embeddings())
    }
    for weight in weights.values():
        for row, ids in spelled.items():
            weight[row] = weight[ids].mean(dim=0)
    logger.info("%d words are new to the vocabulary: %s", len(words), ", ".join(words))


__all__ = ["learn_words", "missing_words"]
