"""SAM-2's image encoder, told to leave out what is made and not read (METHOD section 2).

Enters: the encoder of transformers. Leaves: the same module with the same weights and, bit for bit, the same outputs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.sam2.modeling_sam2 import (
    Sam2MultiScaleAttention,
    Sam2SinePositionEmbedding,
    do_pool,
    eager_attention_forward,
)

KEPT_CODES = 4  # levels of SAM-2's pyramid: with fewer, each would push out another before it is asked for again


class ReadAttention(Sam2MultiScaleAttention):
    """Attention of a Hiera block; transformers' own also makes weights between the heads of each place, unread."""

    def forward(self, hidden_states: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        """(B, H, W, C) -> (B, H', W', C')."""
        batch, height, width, _ = hidden_states.shape
        heads = (self.num_attention_heads, -1)
        query, key, value = self.qkv(hidden_states).reshape(batch, height * width, 3, *heads).unbind(2)
        if self.query_stride:
            pooled = do_pool(query.reshape(batch, height, width, -1), self.query_stride)
            height, width = pooled.shape[1:3]
            query = pooled.reshape(batch, height * width, *heads)
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention_forward)
        query, key, value = (part.transpose(1, 2) for part in (query, key, value))
        read, _ = attend(
            self, query, key, value, attention_mask=None, is_causal=self.is_causal, scaling=self.scale, **kwargs
        )
        return self.proj(read.reshape(batch, height, width, -1))


class KeptSineCodes(Sam2SinePositionEmbedding):
    """Codes of places, made once for the levels of a pyramid; transformers keeps those of one level, so makes all."""

    kept: dict[tuple[Any, ...], torch.Tensor] = {}  # an instance's own is a new dictionary: threads may read the old

    def forward(
        self, shape: torch.Size, device: torch.device | str, dtype: torch.dtype, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """(B, C, H, W) for a level of that shape; the B are one in memory."""
        if mask is not None or torch.compiler.is_compiling():
            return super().forward(shape, device, dtype, mask)
        key = (*shape[-2:], str(device), dtype)
        codes = self.kept.get(key)
        if codes is None:
            # Made under `inference_mode` they could never be part of a training.
            with torch.inference_mode(False), torch.no_grad():
                codes = super().forward(torch.Size((1, *shape[1:])), device, dtype).clone()
            if type(codes) is torch.Tensor:  # not one that only pretends to have values
                self.kept = dict([*self.kept.items(), (key, codes)][-KEPT_CODES:])
        return codes.expand(shape[0], -1, -1, -1)


def read_only_what_counts(encoder: nn.Module) -> None:
    """Turns the attentions and the codes of SAM-2's image encoder into those above; weights stay where they are."""
    for module in encoder.modules():
        for lean in (ReadAttention, KeptSineCodes):
            if type(module) is lean.__bases__[0]:
                module.__class__ = lean


__all__ = ["KeptSineCodes", "ReadAttention", "read_only_what_counts"]
