"""SAM-2's memory attention, ordered for a CPU (METHOD section 2).

Enters: the attention of transformers. Leaves: the same module with the same weights and, to rounding, the same outputs
for about .6 of the time:

- Memories are narrow (64 channels), their projections wide (256). Attention weights sum to one, so they are summed as
  they are and what was read is projected, instead of every place of every memory.
- Places lie before channels, and an object's own scores stay in the processor's caches from one step to the next.
- Tables are kept. Codes are added to memories once for all layers, and what objects of one frame have in common, the
  first layer's look at the frame, is made once for all of them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoMemoryAttention

from .devices import by_hand

# Attention scores that are held at once (8 MB in float32), and the fewest places of the frame they are made for.
SCORES_AT_ONCE = 1 << 21
FEWEST_ROWS = 256


class LeanMemoryAttention(Sam2VideoMemoryAttention):
    """The attention of a frame's objects to their memories; transformers' own where gradients or half precision are
    wanted, and on accelerators.
    """

    kept: tuple[torch.Tensor, torch.Tensor] | None = None

    def forward(
        self,
        current_vision_features: torch.Tensor,
        memory: torch.Tensor,
        current_vision_position_embeddings: torch.Tensor | None = None,
        memory_posision_embeddings: torch.Tensor | None = None,
        num_object_pointer_tokens: int = 0,
    ) -> torch.Tensor:
        """What each object's view of the frame becomes.

        Args:
            current_vision_features: (g*g, O, C), or (g*g, 1, C) where all objects are on one frame.
            memory: (L, O, M), of which the last `num_object_pointer_tokens` are parts of pointers.
            current_vision_position_embeddings: (g*g, 1, C). memory_posision_embeddings: (L, 1 or O, M).

        Returns:
            (1, O, g*g, C).
        """
        codes = current_vision_position_embeddings, memory_posision_embeddings
        if codes[0] is None or codes[1] is None or not self._by_hand(current_vision_features, memory):
            objects = memory.shape[1]
            return super().forward(
                current_vision_features.expand(-1, objects, -1), memory, *codes, num_object_pointer_tokens
            )
        seen = (current_vision_features + 0.1 * codes[0]).transpose(0, 1).contiguous()
        seen = seen + self._look_around(self.layers[0], seen)
        values = memory.transpose(0, 1)
        keys = values + codes[1].transpose(0, 1)
        step = max(SCORES_AT_ONCE // (seen.shape[1] * values.shape[1]), 1)
        parts = [
            self._look_back(
                seen if len(seen) == 1 else seen[first : first + step],
                keys[first : first + step],
                values[first : first + step],
                num_object_pointer_tokens,
            )
            for first in range(0, len(values), step)
        ]
        return (parts[0] if len(parts) == 1 else torch.cat(parts))[None]

    def _by_hand(self, features: torch.Tensor, memory: torch.Tensor) -> bool:
        """Whether the steps below may be taken: they have no dropout, one head, and places of one size of picture."""
        if self.training or not by_hand(self.layer_norm.weight, features, memory):
            return False
        return self.config.memory_attention_num_attention_heads == 1 and len(features) == len(self.position_ids)

    def _look_back(
        self, seen: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, num_pointers: int
    ) -> torch.Tensor:
        """All that follows on the first look at the frame: `seen` (1 or n, g*g, C), memories (n, L, M) twice."""
        rows = _rows_at_once(seen.shape[1], *values.shape[:2])
        scores = values.new_empty(len(values), rows, values.shape[1])
        for number, layer in enumerate(self.layers):
            if number:
                seen = seen + self._look_around(layer, seen)
            attention = layer.cross_attn_image
            query = self._turned(attention.q_proj(layer.layer_norm2(seen))) * attention.scaling
            key = self._turned(attention.k_proj(keys), num_pointers).transpose(1, 2)
            pieces = zip(seen.split(rows, dim=1), query.split(rows, dim=1), strict=True)
            seen = torch.cat([_finish_layer(layer, *piece, key, values, scores) for piece in pieces], dim=1)
        return self.layer_norm(seen)

    def _look_around(self, layer: nn.Module, seen: torch.Tensor) -> torch.Tensor:
        """What a layer's attention to the frame itself adds to `seen` (n, g*g, C)."""
        attention, normed = layer.self_attn, layer.layer_norm1(seen)
        query, key = (self._turned(project(normed)) for project in (attention.q_proj, attention.k_proj))
        parts = (part[:, None] for part in (query, key, attention.v_proj(normed)))
        return attention.o_proj(F.scaled_dot_product_attention(*parts, scale=attention.scaling)[:, 0])

    def _turned(self, projected: torch.Tensor, num_pointers: int = 0) -> torch.Tensor:
        """Turns pairs of channels by the place's angles, in place; pointers (the last ones) have no place.

        `projected`: (n, K*g*g + num_pointers, C), for K pictures.
        """
        places = projected[:, : projected.shape[1] - num_pointers]
        pairs = places.unflatten(1, (-1, len(self.position_ids))).unflatten(-1, (-1, 2))
        torch.view_as_complex(pairs).mul_(self._turns())
        return projected

    def _turns(self) -> torch.Tensor:
        """(g*g, C/2) complex numbers of length one; made once for the places of a picture."""
        if self.kept is not None and self.kept[0] is self.position_ids:
            return self.kept[1]
        cos, sin = self.rotary_emb(self.layer_norm.weight, self.position_ids)
        turns = torch.complex(cos[0, :, ::2].contiguous(), sin[0, :, ::2].contiguous())
        if type(turns) is torch.Tensor:  # not one that only pretends to have values
            self.kept = self.position_ids, turns
        return turns


def _rows_at_once(places: int, objects: int, length: int) -> int:
    """Places of the frame that are taken together: all for several objects, else as many as the scores' limit allows,
    in pieces of nearly one size.
    """
    most = places if objects > 1 else max(SCORES_AT_ONCE // length, FEWEST_ROWS)
    return -(-places // -(-places // most))


def _finish_layer(
    layer: nn.Module,
    seen: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    values: torch.Tensor,
    scores: torch.Tensor,
) -> torch.Tensor:
    """The rest of a layer for some places, none of which looks at another: `seen` and `query` (1 or n, r, C), `key`
    (n, C, L), `values` (n, L, M) to (n, r, C). `scores` (n, r or more, L) is memory that may be written over.
    """
    scores = torch.matmul(query, key, out=scores[:, : query.shape[1]])
    read = torch.softmax(scores, dim=-1, out=scores) @ values
    seen = seen + layer.cross_attn_image.o_proj(layer.cross_attn_image.v_proj(read))
    wide = layer.linear1(layer.layer_norm3(seen))
    wide = wide.relu_() if type(layer.activation) is nn.ReLU else layer.activation(wide)
    return seen + layer.linear2(wide)


def order_for_cpu(attention: nn.Module) -> None:
    """Turns SAM-2's memory attention into the one above; weights stay where they are."""
    if type(attention) is Sam2VideoMemoryAttention:
        attention.__class__ = LeanMemoryAttention


__all__ = ["LeanMemoryAttention", "order_for_cpu"]
