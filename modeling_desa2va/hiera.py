"""SAM-2's image encoder in the order of windows, for a CPU (METHOD section 2).

Enters: the Hiera network of transformers. Leaves: the same module with the same weights and, to rounding, the same
outputs for about .7 of the time:

- The places of a window lie beside each other through a whole stage: nothing is cut into windows and put together
  again block by block. Pooling leaves windows of half the size in their order; what looks at all has no order.
- A window at the right or lower edge holds the places there are. transformers fills it up with zeros, whose keys and
  values are all the same, the bias: one of them is read, with the weight of all.
- A block is finished for some windows while their numbers are in the processor's caches.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers.activations import GELUActivation
from transformers.models.sam2.configuration_sam2 import Sam2HieraDetConfig
from transformers.models.sam2.modeling_sam2 import Sam2HieraDetModel, Sam2HieraDetModelOutput, Sam2VisionNeck

from .devices import by_hand, says_all
from .image_encoder import KeptSineCodes, ReadAttention
from .window_order import WindowOrder, Windows, joined

PLACES_AT_ONCE = 2048


class LeanHiera(Sam2HieraDetModel):
    """The network of SAM-2's blocks; transformers' own where gradients or half precision are wanted, and on
    accelerators.
    """

    def forward(self, pixel_values: torch.Tensor | None = None, **kwargs: Any) -> Any:
        """Pixels (B, 3, S, S) to the outputs (B, H, W, C) of the stages."""
        if pixel_values is None or kwargs or not self._by_hand(pixel_values):
            return super().forward(pixel_values, **kwargs)
        grid = self._embedded(pixel_values)
        order = WindowOrder(*grid.shape[:3], self.blocks[0].window_size)
        places, levels = order.into(grid), []
        for number, block in enumerate(self.blocks):
            if block.window_size not in (0, order.window):
                grid, order = order.out_of(places), replace(order, window=block.window_size)
                places = order.into(grid)
            if block.window_size:
                places = _in_windows(block, places, order)
                order = order.pooled() if block.query_stride else order
            else:
                _as_a_whole(block, places, order)
            if number in self.stage_ends:
                levels.append(order.out_of(places))
        return Sam2HieraDetModelOutput(last_hidden_state=levels[-1], intermediate_hidden_states=tuple(levels))

    def _by_hand(self, pixels: torch.Tensor) -> bool:
        """Whether the steps below may be taken."""
        usual = self.blocks[0].window_size > 0 and all(map(_pools_within_windows, self.blocks))
        return usual and by_hand(self.pos_embed, self.pos_embed, pixels) and says_all(self, ReadAttention)

    def _embedded(self, pixels: torch.Tensor) -> torch.Tensor:
        """Patches with the codes of their places, (B, H, W, C).

        A bicubic resize is a product for the columns and one for the rows; the codes of places in a window ride along.
        """
        grid = self.patch_embed(pixels.contiguous(memory_format=torch.channels_last)).contiguous()
        height, width, channels = grid.shape[1:]
        coarse, window = (codes[0].permute(1, 2, 0) for codes in (self.pos_embed, self.pos_embed_window))
        across = _bicubic(coarse.shape[1], width, coarse) @ coarse
        tiled = window.repeat(1, width // window.shape[1], 1)
        down = _unit(len(window), coarse).repeat(height // len(window), 1)
        down = torch.cat([_bicubic(len(coarse), height, coarse), down], dim=1)
        table = torch.cat([across, tiled]).flatten(1)
        for rows in grid.flatten(2):
            rows.addmm_(down, table)
        return grid


def _unit(length: int, like: torch.Tensor) -> torch.Tensor:
    return torch.eye(length, dtype=like.dtype, device=like.device)


def _bicubic(length: int, wanted: int, like: torch.Tensor) -> torch.Tensor:
    """(wanted, length): what a resize makes of each of `length` numbers."""
    unit = _unit(length, like)
    return F.interpolate(unit[None, :, :, None], size=(wanted, 1), mode="bicubic")[0, :, :, 0].t()


def _pools_within_windows(block: nn.Module) -> bool:
    """Whether a block that pools does so two by two, over windows of an even side."""
    if block.query_stride is None:
        return True
    even = block.window_size > 0 and block.window_size % 2 == 0
    return even and tuple(block.query_stride) == (2, 2) and block.dim != block.dim_out


def _in_windows(block: nn.Module, places: torch.Tensor, order: WindowOrder) -> torch.Tensor:
    """A block that looks within windows; in place where it neither pools nor changes the channels."""
    pieces = order.pieces(PLACES_AT_ONCE)
    done = []
    for piece, windows in zip(
        places.split([sum(part.places for part in piece) for piece in pieces]), pieces, strict=True
    ):
        normed = _normed(block.layer_norm1, piece)
        read = _read(block.attn, normed, windows)
        if block.dim != block.dim_out:
            piece = _linear(block.proj, normed)
            if block.query_stride:
                piece = joined([_pooled(part, shape) for part, shape in _by_shape(piece, windows)])
        done.append(_finished(block, piece, read))
    return places if block.dim == block.dim_out else joined(done)


def _as_a_whole(block: nn.Module, places: torch.Tensor, order: WindowOrder) -> None:
    """A block in which every place looks at its whole image, in place."""
    attention = block.attn
    looked = order.images(_linear(attention.qkv, _normed(block.layer_norm1, places)))
    query, key, value = looked.unflatten(-1, (3, attention.num_attention_heads, -1)).unbind(2)
    read = order.from_images(_attend(attention, query, key, value))
    for piece, own in zip(places.split(PLACES_AT_ONCE), read.split(PLACES_AT_ONCE), strict=True):
        _finished(block, piece, own)


def _by_shape(places: torch.Tensor, windows: list[Windows]) -> Iterator[tuple[torch.Tensor, Windows]]:
    """(P, C) as (count, rows * columns, C) for the windows of each shape."""
    for part, shape in zip(places.split([shape.places for shape in windows]), windows, strict=True):
        yield part.unflatten(0, (shape.count, -1)), shape


def _pooled(part: torch.Tensor, shape: Windows) -> torch.Tensor:
    """The largest of two by two places, channel by channel: (count, rows * columns, C) to (places, C)."""
    grid = part.unflatten(1, (shape.rows, shape.columns))[:, : shape.rows // 2 * 2, : shape.columns // 2 * 2]
    upper, lower = grid[:, ::2], grid[:, 1::2]
    both = torch.maximum(upper, lower)
    return torch.maximum(both[:, :, ::2], both[:, :, 1::2]).flatten(0, 2)


def _read(attention: nn.Module, normed: torch.Tensor, windows: list[Windows]) -> torch.Tensor:
    """What places (P, C) read in their windows, before it is projected; fewer places where queries are pooled."""
    read = []
    for part, shape in _by_shape(_linear(attention.qkv, normed), windows):
        query, key, value = part.unflatten(-1, (3, attention.num_attention_heads, -1)).unbind(2)
        if attention.query_stride:
            query = _pooled(query.flatten(2), shape).view(shape.count, -1, *query.shape[2:])
        read.append(_attend(attention, query, key, value, shape.missing).flatten(0, 1))
    return joined(read)


def _attend(
    attention: nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, missing: int = 0
) -> torch.Tensor:
    """Attention of (n, T, heads, D), (n, L, heads, D) twice: (n, T, heads * D). `missing`: places of padding."""
    weight = None
    if missing:
        bias = attention.qkv.bias.view(3, 1, 1, *key.shape[2:]).expand(-1, len(key), -1, -1, -1)
        key, value = torch.cat([key, bias[1]], dim=1), torch.cat([value, bias[2]], dim=1)
        weight = key.new_zeros(1, 1, 1, key.shape[1])
        weight[..., -1] = math.log(missing)
    parts = (part.transpose(1, 2) for part in (query, key, value))
    read = F.scaled_dot_product_attention(*parts, attn_mask=weight, scale=attention.scale)
    return read.transpose(1, 2).flatten(2)


def _finished(block: nn.Module, piece: torch.Tensor, read: torch.Tensor) -> torch.Tensor:
    """The rest of a block for some places (P, C), in place."""
    piece += _linear(block.attn.proj, read)
    wide = _linear(block.mlp.proj_in, _normed(block.layer_norm2, piece))
    activation = block.mlp.activation
    wide = torch.ops.aten.gelu_(wide) if type(activation) is GELUActivation else activation(wide)
    piece += _linear(block.mlp.proj_out, wide)
    return piece


def _linear(layer: nn.Linear, rows: torch.Tensor) -> torch.Tensor:
    return F.linear(rows, layer.weight, layer.bias)


def _normed(norm: nn.LayerNorm, rows: torch.Tensor) -> torch.Tensor:
    return F.layer_norm(rows, norm.normalized_shape, norm.weight, norm.bias, norm.eps)


class LeanNeck(Sam2VisionNeck):
    """The pyramid over the stages; channels stay last in memory, as they come and as decoders and memory want them."""

    def forward(self, hidden_states: tuple[torch.Tensor, ...]) -> tuple[tuple[torch.Tensor, ...], ...]:
        """Outputs (B, H, W, C) of the stages to levels (B, C, H, W) and their codes, from the coarsest on."""
        if not self._by_hand(hidden_states):
            return super().forward(hidden_states)
        levels, coarser = [], None
        for number, conv in zip(reversed(range(len(self.convs))), self.convs, strict=True):
            level = _projected(conv, hidden_states[number])
            if coarser is not None and number in self.fpn_top_down_levels:
                height, width = coarser.shape[1:3]
                level.unflatten(2, (width, 2)).unflatten(1, (height, 2)).add_(coarser[:, :, None, :, None])
            levels.append(level.permute(0, 3, 1, 2))
            coarser = level
        codes = [self.position_encoding(level.shape, level.device, level.dtype) for level in levels]
        return tuple(levels), tuple(codes)

    def _by_hand(self, hidden_states: tuple[torch.Tensor, ...]) -> bool:
        """Whether the steps above may be taken."""
        single = all(conv.kernel_size == conv.stride == (1, 1) and conv.padding == (0, 0) for conv in self.convs)
        return single and by_hand(self.convs[0].weight, *hidden_states) and says_all(self, KeptSineCodes)


def _projected(conv: nn.Conv2d, grid: torch.Tensor) -> torch.Tensor:
    """A convolution of single places, (B, H, W, C) to (B, H, W, C')."""
    places, weight = grid.flatten(0, 2), conv.weight.flatten(1).t()
    made = places.new_empty(len(places), conv.out_channels)
    for piece, own in zip(places.split(PLACES_AT_ONCE), made.split(PLACES_AT_ONCE), strict=True):
        torch.addmm(conv.bias, piece, weight, out=own)
    return made.view(*grid.shape[:3], -1)


def order_by_windows(encoder: nn.Module) -> None:
    """Turns the blocks and the pyramid of SAM-2's image encoder into those above; weights stay where they are."""
    for module in encoder.modules():
        if type(module) is Sam2HieraDetModel:
            _let_outputs_be_recorded()
            module.__class__ = LeanHiera
        elif type(module) is Sam2VisionNeck:
            module.__class__ = LeanNeck


@cache
def _let_outputs_be_recorded() -> None:
    """Makes one network without a block: only then transformers knows what of the class `output_hidden_states` is."""
    with torch.device("meta"):
        LeanHiera(Sam2HieraDetConfig(blocks_per_stage=[0, 0, 0, 0]))


__all__ = ["LeanHiera", "LeanNeck", "order_by_windows"]
