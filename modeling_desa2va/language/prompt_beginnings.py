"""Several prompts about one picture: what they begin with, the picture's tokens among it, is read once.

Enters: the padded prompts of a batch. Leaves: the beginnings that rows have in common, one for each picture (or set of
pictures), and how the rows go on. Each beginning is read by itself; its keys and values are then those of every row
that begins with it. Answers and states are the same (a causal model's states of a beginning do not know what follows),
to rounding.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from .read_tokens import cache_name, new_cache
from .shared_prefix import WORTH, shown_images

# (row, place) of a token, `None` where there is none.
_Token = tuple[int, int] | None


@dataclass(frozen=True)
class Beginnings:
    """How B prompts of N places are read as G beginnings of P places and B rests of R.

    Attributes:
        source: (G, P) place in the B x N, and mask (G, P) long: the beginnings, padded on the left.
        owner: (B,) the beginning of each row. whole: (B, P + R) place in the B x N, and whole_mask (B, P + R) long:
            every row, its beginning and its rest each padded on the left.
    """

    source: torch.Tensor
    mask: torch.Tensor
    owner: torch.Tensor
    whole: torch.Tensor
    whole_mask: torch.Tensor

    @torch.no_grad()
    def read(self, mllm: nn.Module, embeddings: torch.Tensor) -> dict[str, Any] | None:
        """Reads the beginnings: arguments of `generate` for going on from there.

        Args:
            mllm: the language model. embeddings: (B, N, D) of the prompts.

        Returns:
            Embeddings and mask of (B, P + R) and a cache of the first P; `None` where some layer of the model forgets.
        """
        cache, name = new_cache(mllm), cache_name(mllm)
        if cache is None:
            return None
        flat = embeddings.flatten(0, 1)
        mllm.model(
            inputs_embeds=flat[self.source],
            attention_mask=self.mask,
            position_ids=(self.mask.cumsum(dim=1) - 1).clamp(min=0),
            use_cache=True,
            **{name: cache},
        )
        for layer in cache.layers:
            layer.batch_select_indices(self.owner.to(layer.keys.device))
        return {"inputs_embeds": flat[self.whole], "attention_mask": self.whole_mask, name: cache}


def common_beginnings(
    input_ids: torch.Tensor, attention_mask: torch.Tensor, image_index: torch.Tensor | None, image_token_id: int
) -> Beginnings | None:
    """What prompts begin with in common, or `None` where there is little to gain.

    Args:
        input_ids, attention_mask: (B, N), padded on the left. image_index: (M,) image of each run of image tokens.
    """
    shown = shown_images(input_ids.cpu(), image_index, image_token_id)
    if shown is None or len(shown) < 2 or not bool(attention_mask[:, -1].all()):
        return None
    ids, width = input_ids.tolist(), input_ids.shape[1]
    first = [width - count for count in attention_mask.sum(dim=1).tolist()]
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for row, images in enumerate(shown):
        groups[images or (-1 - row,)].append(row)
    beginnings, rests = [], {}
    for number, rows in enumerate(groups.values()):
        common = _length_in_common([ids[row][first[row] :] for row in rows])
        if not common:
            return None
        beginnings.append([(rows[0], first[rows[0]] + place) for place in range(common)])
        rests.update({row: (number, [(row, place) for place in range(first[row] + common, width)]) for row in rows})
    longest, rest = max(map(len, beginnings)), max(len(places) for _, places in rests.values())
    if len(beginnings) * longest + len(ids) * rest > WORTH * input_ids.numel():
        return None
    heads = [_padded(tokens, longest) for tokens in beginnings]
    rows = [heads[rests[row][0]] + _padded(rests[row][1], rest) for row in range(len(ids))]
    owner = torch.tensor([rests[row][0] for row in range(len(ids))], device=input_ids.device)
    (source, mask), (whole, whole_mask) = (_places(table, width, input_ids.device) for table in (heads, rows))
    return Beginnings(source, mask, owner, whole, whole_mask)


def _length_in_common(prompts: list[list[int]]) -> int:
    """Tokens that all begin with, but never the last of any: an answer begins with its state."""
    most = min(map(len, prompts)) - 1
    return next((place for place in range(most) if len({ids[place] for ids in prompts}) > 1), most)


def _padded(tokens: list[_Token], length: int) -> list[_Token]:
    return [None] * (length - len(tokens)) + tokens


def _places(rows: list[list[_Token]], width: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Places in the B x `width`, 0 where there is no token, and the mask of those there are; both long."""
    places = torch.tensor([[0 if token is None else token[0] * width + token[1] for token in row] for row in rows])
    mask = torch.tensor([[int(token is not None) for token in row] for row in rows])
    return places.to(device), mask.to(device)


__all__ = ["Beginnings", "common_beginnings"]
