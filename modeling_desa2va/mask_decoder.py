"""SAM-2's mask decoder in few and large operations, for a CPU (METHOD section 2).

Enters: the decoder of transformers. Leaves: the same module with the same weights and, to rounding, the same outputs
for less time, most where many objects share a picture:

- Tokens are few (about nine), places many. A head's query is taken through the keys' projection, not every place of
  the image through it; likewise values, and the way back. No place is projected for an attention at all.
- Rows that are one in memory, the picture of all objects before the first layer above all, are worked on once.
- Upscaling is products of matrices: the four children of a place lie beside each other until the mask is made, and
  channels are last. Of three masks the one with the highest predicted IoU alone is drawn where no more is asked for.

No copy of a weight is kept, so none can be out of date.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoMaskDecoder

from .devices import by_hand, says_all

Decoded = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


class LeanMaskDecoder(Sam2VideoMaskDecoder):
    """The decoder of object-frame pairs; transformers' own where gradients or half precision are wanted, on
    accelerators and while it is exported.
    """

    def forward(
        self,
        image_embeddings: torch.Tensor,
        image_positional_embeddings: torch.Tensor,
        sparse_prompt_embeddings: torch.Tensor,
        dense_prompt_embeddings: torch.Tensor,
        multimask_output: bool,
        high_resolution_features: list[torch.Tensor],
        best_only: bool = False,
        **kwargs: Any,
    ) -> Decoded:
        """Masks of P pairs.

        Args:
            image_embeddings, image_positional_embeddings, dense_prompt_embeddings: (P, C, g, g).
            sparse_prompt_embeddings: (P, 1, K, C). multimask_output: three masks, not one.
            high_resolution_features: (P, C/8, 4g, 4g), (P, C/4, 2g, 2g).
            best_only: of several masks the one with the highest predicted IoU. kwargs: transformers' own.

        Returns:
            Mask logits (P, 1, m, 4g, 4g), predicted IoU (P, 1, m), mask tokens (P, 1, m, C), object score (P, 1, 1).
        """
        images = image_embeddings, image_positional_embeddings, dense_prompt_embeddings
        if sparse_prompt_embeddings.shape[1] != 1 or kwargs or not self._by_hand(sparse_prompt_embeddings, *images):
            decoded = super().forward(
                image_embeddings,
                image_positional_embeddings,
                sparse_prompt_embeddings,
                dense_prompt_embeddings,
                multimask_output,
                high_resolution_features,
                **kwargs,
            )
            return _best(*decoded) if best_only else decoded
        tokens = self._tokens(sparse_prompt_embeddings[:, 0])
        image, codes, dense = (_places(_rows_in_memory(part)) for part in images)
        states, keys = _two_ways(self.transformer, tokens, image + dense, codes)
        object_score = _perceptron(self.pred_obj_score_head, states[:, 0])
        iou, tokens = _perceptron(self.iou_prediction_head, states[:, 1]), states[:, 2 : 2 + self.num_mask_tokens]
        drawn = self._drawn(self._upscaled(keys, high_resolution_features), iou, tokens, multimask_output, best_only)
        return *(part[:, None] for part in drawn), object_score[:, None]

    def _by_hand(self, *given: torch.Tensor) -> bool:
        """Whether the steps below may be taken."""
        return not self.training and by_hand(self.upscale_conv1.weight, *given) and says_all(self)

    def _tokens(self, sparse: torch.Tensor) -> torch.Tensor:
        """(P, T, C): object score, IoU and masks, then the prompts (P, K, C)."""
        own = torch.cat([self.obj_score_token.weight, self.iou_token.weight, self.mask_tokens.weight])
        return torch.cat([own.expand(len(sparse), -1, -1), sparse], dim=1)

    def _upscaled(self, keys: torch.Tensor, high: list[torch.Tensor]) -> torch.Tensor:
        """(P, 16*g*g, C/8) of places (P, g*g, C): the 16 children of a place beside each other."""
        fine, middle = (_children(_rows_in_memory(level), keys.shape[1]) for level in high)
        upscaled = _spread(self.upscale_conv1, keys, middle)
        upscaled = F.gelu(_normed(self.upscale_layer_norm, upscaled))
        return F.gelu(_spread(self.upscale_conv2, upscaled, fine))

    def _drawn(
        self, upscaled: torch.Tensor, iou: torch.Tensor, tokens: torch.Tensor, multimask: bool, best_only: bool
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Masks (P, m, 4g, 4g), scores and tokens of those that are asked for."""
        networks, by_stability = self.output_hypernetworks_mlps, self.dynamic_multimask_via_stability and not multimask
        if multimask and best_only:
            rows, best = torch.arange(len(iou)), 1 + iou[:, 1:].argmax(dim=1)
            iou, tokens = iou[rows, best][:, None], tokens[rows, best][:, None]
            needed = sorted(set(best.tolist()))
            pens = torch.cat([_perceptron(networks[number], tokens) for number in needed], dim=1)
            pens = pens if len(needed) == 1 else pens[rows, torch.searchsorted(torch.tensor(needed), best)][:, None]
        else:
            kept = slice(1, None) if multimask else slice(None) if by_stability else slice(1)
            iou, tokens = iou[:, kept], tokens[:, kept]
            pens = [_perceptron(network, tokens[:, row]) for row, network in enumerate(networks[kept])]
            pens = torch.stack(pens, dim=1)
        masks = _as_picture(torch.bmm(upscaled, pens.transpose(1, 2)).transpose(1, 2))
        if by_stability:
            masks, iou = (part[:, 0] for part in self._dynamic_multimask_via_stability(masks[:, None], iou[:, None]))
            tokens = tokens[:, :1]
        return masks, iou, tokens


def _best(masks: torch.Tensor, iou: torch.Tensor, tokens: torch.Tensor, object_score: torch.Tensor) -> Decoded:
    """Of m masks (P, 1, m, h, w) the one with the highest predicted IoU, and its token."""
    rows = torch.arange(iou.shape[0], device=iou.device)  # `len` would be a constant in an exported graph
    best = iou[:, 0].argmax(dim=-1)
    return *(part[:, 0][rows, best][:, None, None] for part in (masks, iou, tokens)), object_score


def _rows_in_memory(part: torch.Tensor) -> torch.Tensor:
    """One row of a tensor whose rows are one in memory, else all."""
    return part[:1] if part.stride(0) == 0 else part


def _places(grid: torch.Tensor) -> torch.Tensor:
    """(n, C, g, g) to (n, g*g, C)."""
    return grid.flatten(2).transpose(1, 2)


def _two_ways(
    transformer: nn.Module, tokens: torch.Tensor, keys: torch.Tensor, codes: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens (P, T, C) and places (1 or P, N, C) that have looked at each other; (P, T, C), (P, N, C)."""
    states = tokens
    for layer in transformer.layers:
        if layer.skip_first_layer_pe:
            states = _among(layer.self_attn, states, states)
        else:
            states = states + _among(layer.self_attn, states + tokens, states)
        states, coded = _normed(layer.layer_norm1, states), keys + codes
        states = states + _read(layer.cross_attn_token_to_image, states + tokens, keys, coded)
        states = _normed(layer.layer_norm2, states)
        states = _normed(layer.layer_norm3, states + _perceptron(layer.mlp, states))
        keys = _written(layer.cross_attn_image_to_token, states, states + tokens, keys, coded)
        keys = _normed(layer.layer_norm4, keys)
    read = _read(transformer.final_attn_token_to_image, states + tokens, keys, keys + codes)
    return _normed(transformer.layer_norm_final_attn, states + read), keys


def _among(attention: nn.Module, query: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Attention of tokens (P, T, C) among themselves."""
    heads = (*query.shape[:2], attention.num_attention_heads, -1)
    parts = _linear(attention.q_proj, query), _linear(attention.k_proj, query), _linear(attention.v_proj, value)
    parts = (part.view(heads).transpose(1, 2) for part in parts)
    read = F.scaled_dot_product_attention(*parts, scale=attention.scaling)
    return _linear(attention.o_proj, read.transpose(1, 2).flatten(2))


def _read(attention: nn.Module, query: torch.Tensor, keys: torch.Tensor, coded: torch.Tensor) -> torch.Tensor:
    """What tokens (P, T, C) read of places (1 or P, N, C), `coded` with their codes.

    A bias of the keys would raise all scores of a token alike. Weights sum to one, so values are summed first.
    """
    heads, (pairs, count) = attention.num_attention_heads, query.shape[:2]
    asked = _through(attention.k_proj.weight, _linear(attention.q_proj, query) * attention.scaling, heads)
    read = _times(_times(asked, coded.transpose(1, 2)).softmax(dim=-1), keys)
    by_head = read.view(pairs, heads, count, -1).transpose(0, 1).reshape(heads, pairs * count, -1)
    value = attention.v_proj.weight.view(heads, -1, read.shape[-1])
    value = torch.bmm(by_head, value.transpose(1, 2)).transpose(0, 1).reshape(pairs, count, -1)
    return _linear(attention.o_proj, value + attention.v_proj.bias)


def _written(
    attention: nn.Module, states: torch.Tensor, coded_states: torch.Tensor, keys: torch.Tensor, coded: torch.Tensor
) -> torch.Tensor:
    """Places (1 or P, N, C) plus what they take from tokens (P, T, C): (P, N, C)."""
    heads, (pairs, count) = attention.num_attention_heads, states.shape[:2]
    key = _linear(attention.k_proj, coded_states) * attention.scaling
    bias = (key * attention.q_proj.bias).view(pairs, count, heads, -1).sum(-1).transpose(1, 2).reshape(pairs, -1, 1)
    asked = _through(attention.q_proj.weight, key, heads)
    weights = torch.baddbmm(bias, asked, coded.transpose(1, 2).expand(pairs, -1, -1))
    weights = weights.view(pairs, heads, count, -1).softmax(dim=2).view_as(weights)
    given = _through(attention.o_proj.weight.t(), _linear(attention.v_proj, states), heads)
    return torch.baddbmm(keys, weights.transpose(1, 2), given + attention.o_proj.bias / heads)


def _through(weight: torch.Tensor, rows: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows (P, T, H*d) times each head's part of a weight (H*d, C): (P, H*T, C)."""
    pairs, count = rows.shape[:2]
    by_head = rows.view(pairs * count, heads, -1).transpose(0, 1)
    wide = torch.bmm(by_head, weight.view(heads, by_head.shape[-1], -1))
    return wide.view(heads, pairs, count, -1).transpose(0, 1).reshape(pairs, heads * count, -1)


def _linear(layer: nn.Linear, rows: torch.Tensor) -> torch.Tensor:
    """The layer's product; calling the module takes as long as a small product itself."""
    return F.linear(rows, layer.weight, layer.bias)


def _normed(norm: nn.LayerNorm, rows: torch.Tensor) -> torch.Tensor:
    """Rows (..., C) normalised."""
    return F.layer_norm(rows, norm.normalized_shape, norm.weight, norm.bias, norm.eps)


def _perceptron(network: nn.Module, rows: torch.Tensor) -> torch.Tensor:
    """The feed-forward network over rows (..., C)."""
    for layer in (network.proj_in, *network.layers):
        rows = network.activation(_linear(layer, rows))
    rows = _linear(network.proj_out, rows)
    return rows.sigmoid() if network.sigmoid_output else rows


def _times(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """(P, m, k) times (1 or P, k, n); a single right side in one product."""
    if len(right) == 1:
        return (left.flatten(0, 1) @ right[0]).unflatten(0, left.shape[:2])
    return torch.bmm(left, right)


def _spread(up: nn.ConvTranspose2d, places: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """A transposed convolution of size and stride 2 over (P, n, C), plus (1 or P, 4n, O): (P, 4n, O)."""
    weight = up.weight.permute(0, 2, 3, 1).reshape(up.in_channels, -1)
    return (places @ weight).view(len(places), -1, up.out_channels) + (high + up.bias)


def _children(level: torch.Tensor, places: int) -> torch.Tensor:
    """A high level (n, O, s, s) by place of the low level: (n, s*s, O), the children of a place beside each other."""
    count, channels, side = level.shape[:3]
    halvings = (side * side // places).bit_length() // 2
    grid = side >> halvings
    split = level.reshape(count, channels, grid, *[2] * halvings, grid, *[2] * halvings)
    order = [axis for step in range(halvings + 1) for axis in (2 + step, 3 + halvings + step)]
    return split.permute(0, *order, 1).reshape(count, -1, channels)


def _as_picture(masks: torch.Tensor) -> torch.Tensor:
    """(P, m, 16*g*g), the children of a place beside each other, to (P, m, 4g, 4g)."""
    pairs, count, size = masks.shape
    grid = int((size // 16) ** 0.5)
    split = masks.view(pairs, count, grid, grid, 2, 2, 2, 2)
    return split.permute(0, 1, 2, 4, 6, 3, 5, 7).reshape(pairs, count, 4 * grid, 4 * grid)


def draw_in_few_steps(decoder: nn.Module) -> None:
    """Turns a mask decoder into the one above; weights stay where they are."""
    if type(decoder) is Sam2VideoMaskDecoder:
        decoder.__class__ = LeanMaskDecoder


__all__ = ["LeanMaskDecoder", "draw_in_few_steps"]
