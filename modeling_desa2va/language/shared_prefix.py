"""Several conversations about one picture, read as one row: what they begin with in common is read once.

Enters: a padded batch whose sequences begin alike, picture and all. Leaves: one row per picture, the common beginning
first and then every conversation's rest, each of which sees the beginning and itself; and the way back. The states are
the same (a causal model's states of a beginning do not know what follows), to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

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
        """(B, N, D) -> (G, L, D)."""
        return embeddings.flatten(0, 1)[self.source]

    def unpack(self, states: torch.Tensor) -> torch.Tensor:
        """(G, L, D) -> (B, N, D)."""
        return states.flatten(0, 1)[self.back]


def pack_rows(
    input_ids: torch.Tensor, attention_mask: torch.Tensor | None, image_index: torch.Tensor | None, image_token_id: int
) -> PackedRows | None:
    """The packing of a batch, or `None` where there is little to gain.

    Args:
        input_ids, attention_mask: (B, N), padded on the right. image_index: (M,) image of each run of image tokens.
    """
    if image_index is None or attention_mask is None or len(input_ids) < 2 or not bool(attention_mask[:, 0].all()):
        return None
    ids, lengths = input_ids.tolist(), attention_mask.sum(dim=1).tolist()
    is_image = input_ids == image_token_id
    runs = (is_image[:, 1:] & ~is_image[:, :-1]).sum(dim=1).tolist()
    if sum(runs) != len(image_index):
        return None
    shown = [tuple(part.tolist()) for part in image_index.cpu().split(runs)]
    groups: dict[tuple[int, ...], list[int]] = {}
    for row, images in enumerate(shown):
        groups.setdefault(images or (-1 - row,), []).append(row)
    rows = [_packed_row(ids, lengths, members) for members in groups.values()]
    longest = max(len(row) for row in rows)
    if len(rows) * longest > WORTH * input_ids.numel():
        return None
    return _indices(rows, longest, input_ids)


def _packed_row(ids: list[list[int]], lengths: list[int], members: list[int]) -> list[tuple[int, int, int]]:
    """(branch, sequence, place) of every token of one row; branch 0 is what all begin with."""
    first, shortest = members[0], min(lengths[row] for row in members)
    common = next(
        (place for place in range(shortest) if any(ids[row][place] != ids[first][place] for row in members)), shortest
    )
    row = [(0, first, place) for place in range(common)]
    for branch, member in enumerate(members, start=1):
        row += [(branch, member, place) for place in range(common, lengths[member])]
    return row


def _indices(rows: list[list[tuple[int, int, int]]], longest: int, input_ids: torch.Tensor) -> PackedRows:
    """Tensors of a packing. Padding is a branch of its own that sees itself, so that no softmax is empty."""
    count, width = input_ids.shape
    table = torch.tensor([row + [(-1, 0, 0)] * (longest - len(row)) for row in rows])
    branch, sequence, place = table.unbind(dim=-1)
    here, there = branch[:, :, None], branch[:, None, :]
    visible = ((there == 0) | (here == there)) & (place[:, None, :] <= place[:, :, None])
    flat = torch.arange(table.shape[0] * longest).reshape(branch.shape)
    source, real = sequence * width + place, branch >= 0
    back = torch.zeros(count * width, dtype=torch.long)
    back[source[real]] = flat[real]
    back = back.reshape(count, width)
    # What a row begins with lies with its first sequence; the others of the row find it there.
    for row, packed in zip(flat.tolist(), rows, strict=True):
        common = sum(part[0] == 0 for part in packed)
        if common:
            members = sorted({part[1] for part in packed})
            back[members, :common] = torch.tensor(row[:common])
    device = input_ids.device
    return PackedRows(source.to(device), place.to(device), visible[:, None].to(device), back.to(device))


__all__ = ["PackedRows", "pack_rows"]
