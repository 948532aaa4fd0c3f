"""Several conversations read as one row: what those about one picture begin with in common is read once, and short
ones lie behind one another where a long one stands alone.

Enters: a padded batch. Leaves: rows of groups, each with the common beginning of its conversations first and then the
rest of every one, which sees the beginning and itself; and the way back. A group is what is said about one picture (or
video), or one conversation without any. The states are the same (a causal model's states of a beginning do not know
what follows), to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, groupby
from operator import itemgetter

import torch

WORTH = 0.9  # share of the batch's places above which packing is not worth the mask


@dataclass(frozen=True)
class PackedRows:
    """How B sequences of N places lie in G rows of L.

    Attributes:
        source: (G, L) place in the B x N. position: (G, L) place in its sequence. visible: (G, 1, L, L) bool, who sees
            whom. back: (B, N) place in the G x L; padding points anywhere.
    """

    source: torch.Tensor
    position: torch.Tensor
    visible: torch.Tensor
    back: torch.Tensor

    def pack(self, embeddings: torch.Tensor) -> torch.Tensor:
        """(B, N, D) -> (G, L, D); ids (B, N) -> (G, L)."""
        return embeddings.flatten(0, 1)[self.source]

    def unpack(self, states: torch.Tensor) -> torch.Tensor:
        """(G, L, D) -> (B, N, D)."""
        return states.flatten(0, 1)[self.back]


def pack_rows(
    input_ids: torch.Tensor, attention_mask: torch.Tensor | None, image_index: torch.Tensor | None, image_token_id: int
) -> PackedRows | None:
    """The packing of a batch, or `None` where there is little to gain.

    Args:
        input_ids, attention_mask: (B, N), padded on the right. image_index: (M,) image of each run of image tokens,
            `None` where the batch shows none.
    """
    if attention_mask is None or len(input_ids) < 2:
        return None
    here, mask = input_ids.cpu(), attention_mask.cpu()
    shown = shown_images(here, image_index, image_token_id)
    if shown is None or not bool(mask[:, 0].all()):
        return None
    ids, lengths = here.tolist(), mask.sum(dim=1).tolist()
    groups: dict[tuple[int, ...], list[int]] = {}
    for row, images in enumerate(shown):
        groups.setdefault(images or (-1 - row,), []).append(row)
    rows = _fill_rows([_packed_group(ids, lengths, members) for members in groups.values()])
    longest = max(len(row) for row in rows)
    if len(rows) * longest > WORTH * input_ids.numel():
        return None
    return _indices(rows, longest, input_ids)


def shown_images(
    input_ids: torch.Tensor, image_index: torch.Tensor | None, image_token_id: int
) -> list[tuple[int, ...]] | None:
    """The images that each of (B, N) sequences shows, in order; `None` where `image_index` (M,) is not one of runs.

    Args: as of `pack_rows`.
    """
    is_image = input_ids == image_token_id
    runs = (is_image[:, 1:] & ~is_image[:, :-1]).sum(dim=1).tolist()
    places = [] if image_index is None else image_index.tolist()
    if sum(runs) != len(places):
        return None
    ends = list(accumulate(runs))
    return [tuple(places[end - count : end]) for end, count in zip(ends, runs, strict=True)]


def _packed_group(ids: list[list[int]], lengths: list[int], members: list[int]) -> list[tuple[int, int, int]]:
    """(branch, sequence, place) of every token of one group; branch 0 is what all begin with."""
    first, shortest = members[0], min(lengths[row] for row in members)
    common = next(
        (place for place in range(shortest) if any(ids[row][place] != ids[first][place] for row in members)), shortest
    )
    row = [(0, first, place) for place in range(common)]
    for branch, member in enumerate(members, start=1):
        row += [(branch, member, place) for place in range(common, lengths[member])]
    return row


def _fill_rows(groups: list[list[tuple[int, int, int]]]) -> list[list[tuple[int, int, int, int]]]:
    """Rows (group, branch, sequence, place) no longer than the longest group; long groups first, each in the first row
    with room for it.
    """
    longest = max(map(len, groups))
    rows: list[list[tuple[int, int, int, int]]] = []
    for number, group in sorted(enumerate(groups), key=lambda entry: -len(entry[1])):
        row = next((row for row in rows if len(row) + len(group) <= longest), None)
        if row is None:
            row = []
            rows.append(row)
        row += [(number, *token) for token in group]
    return rows


def _indices(rows: list[list[tuple[int, int, int, int]]], longest: int, input_ids: torch.Tensor) -> PackedRows:
    """Tensors of a packing. Padding is a group of its own that sees itself, so that no softmax is empty."""
    count, width = input_ids.shape
    table = torch.tensor([row + [(-1, 0, 0, 0)] * (longest - len(row)) for row in rows])
    group, branch, sequence, place = table.unbind(dim=-1)
    here, there = branch[:, :, None], branch[:, None, :]
    visible = ((there == 0) | (here == there)) & (place[:, None, :] <= place[:, :, None])
    visible &= group[:, None, :] == group[:, :, None]
    flat = torch.arange(table.shape[0] * longest).reshape(branch.shape)
    source, real = sequence * width + place, group >= 0
    back = torch.zeros(count * width, dtype=torch.long)
    back[source[real]] = flat[real]
    back = back.reshape(count, width)
    # What a group begins with lies with its first sequence; the others of the group find it there.
    for row, packed in zip(flat.tolist(), rows, strict=True):
        start = 0
        for _, tokens in groupby(packed, key=itemgetter(0)):
            tokens = list(tokens)
            common = sum(token[1] == 0 for token in tokens)
            members = sorted({token[2] for token in tokens})
            back[members, :common] = torch.tensor(row[start : start + common], dtype=torch.long)
            start += len(tokens)
    device = input_ids.device
    return PackedRows(source.to(device), place.to(device), visible[:, None].to(device), back.to(device))


__all__ = ["PackedRows", "pack_rows", "shown_images"]
