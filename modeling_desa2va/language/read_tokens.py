"""What a language model has read of one conversation, so that a later turn reads what is new and nothing else.

Enters: the token ids of a whole conversation, turn after turn. Leaves: how many of them need not be read again, and
transformers' cache with their keys and values (METHOD section 6). Ids decide, not turns: what the last reading and
this one begin with in common is kept, so a turn that was taken back, put otherwise, or is spelled otherwise in the
history than the model wrote it costs a longer reading and never another answer.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer


class ReadTokens:
    """Keys and values of the beginning of one conversation.

    Args:
        mllm: the language model. Its weights must not change while this is in use.

    Attributes:
        ids: the tokens that were read, in order.
    """

    def __init__(self, mllm: nn.Module) -> None:
        self._mllm = mllm
        self._name = cache_name(mllm)
        self.ids: list[int] = []
        self._cache: DynamicCache | None = None

    def reuse(self, input_ids: torch.Tensor, image_token_id: int) -> bool:
        """Prepares for reading (1, N): forgets all but what both readings begin with.

        Args:
            input_ids: the whole conversation. image_token_id: stands where pictures are shown; a part of them is of no
                use, since they are encoded together.

        Returns:
            Whether the pictures have been read, and only words are new.

        Raises:
            ValueError: several conversations.
        """
        if len(input_ids) != 1:
            raise ValueError(f"what was read belongs to one conversation, got a batch of {len(input_ids)}")
        ids = input_ids[0].tolist()
        # The last token is read in any case: the answer begins with its state.
        most = min(len(ids) - 1, len(self.ids))
        common = next((place for place in range(most) if ids[place] != self.ids[place]), most)
        self.crop(common if image_token_id not in ids[common:] else 0)
        if self._cache is None:
            self._cache = new_cache(self._mllm)
        return bool(self.ids)

    def inputs(self) -> dict[str, Any]:
        """The cache as an argument of `generate`; nothing where the language model has none that can be cut."""
        return {} if self._cache is None else {self._name: self._cache}

    def keep(self, ids: list[int]) -> None:
        """Notes what the cache holds after a call: the beginning of `ids`, prompt and answer."""
        if self._cache is not None:
            self.ids = ids[: self._cache.get_seq_length()]

    def crop(self, length: int) -> None:
        """Forgets all but the first `length` tokens, and what an interrupted call left behind them."""
        self.ids = self.ids[:length]
        if not self.ids:
            self._cache = None
            return
        cut_cache(self._cache, len(self.ids))

    def clear(self) -> None:
        """Forgets everything."""
        self.crop(0)

    @property
    def num_bytes(self) -> int:
        """Bytes of keys and values."""
        layers = [] if self._cache is None else self._cache.layers
        return sum(part.nbytes for layer in layers for part in (layer.keys, layer.values) if part is not None)


def cache_name(mllm: nn.Module) -> str:
    """The language model's argument for a cache: transformers 5.17 has one name for it, 5.24 another, and warns of
    the first.
    """
    return "cache" if "cache" in inspect.signature(type(mllm).forward).parameters else "past_key_values"


def cut_cache(cache: DynamicCache, length: int) -> None:
    """Leaves the first `length` places of a cache of `new_cache`, where it has more."""
    for layer in cache.layers:
        if (beyond := layer.get_seq_length() - length) > 0:
            layer.crop(-beyond)
            # A cut is a view of the whole; what was cut off shall be free.
            layer.keys, layer.values = layer.keys.clone(), layer.values.clone()


def new_cache(mllm: nn.Module) -> DynamicCache | None:
    """An empty cache; `None` where some layer forgets (windows, recurrent layers) and can not be cut back."""
    cache = DynamicCache(config=mllm.config.get_text_config())
    return cache if all(type(layer) is DynamicLayer for layer in cache.layers) else None


__all__ = ["ReadTokens", "cache_name", "cut_cache", "new_cache"]
