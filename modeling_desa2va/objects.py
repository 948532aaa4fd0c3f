"""Where the objects of a batch are: which `[SEG]` tokens, in which sequence, on which frames.

Enters: token ids and the maps sequence -> visual -> frames. Leaves: flat, ragged indices; nothing is padded, dropped
or repeated.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class ObjectIndex:
    """Flat indices of a batch's O objects and P object-frame pairs.

    Attributes:
        sequence: (O,) row of `input_ids`. positions: (O, S) columns of the object's S segmentation tokens.
        pair_object: (P,) object of each pair. pair_frame: (P,) row of the SAM-2 frames. pair_token: (P,) which of
            the S tokens prompts the pair: the frame's place in its visual, the last token for frames beyond.
    """

    sequence: torch.Tensor
    positions: torch.Tensor
    pair_object: torch.Tensor
    pair_frame: torch.Tensor
    pair_token: torch.Tensor

    def per_pair(self, prompts: torch.Tensor | None) -> torch.Tensor | None:
        """(O, S, C) prompts -> (P, C), the token that prompts each pair."""
        return None if prompts is None else prompts[self.pair_object, self.pair_token]


def find_objects(
    input_ids: torch.Tensor,
    seg_token_ids: list[int],
    group_size: int,
    frame_visual: torch.Tensor | None,
    sequence_visual: torch.Tensor | None,
) -> ObjectIndex:
    """Groups the segmentation tokens of (B, N) ids into objects and pairs them with frames.

    Args:
        input_ids: (B, N). seg_token_ids: ids that count. group_size: S, tokens per object.
        frame_visual: (F,) visual of each frame, frames of one visual adjacent. sequence_visual: (B,), -1 for text
            only.

    Raises:
        ValueError: a sequence whose number of segmentation tokens is no multiple of `group_size`.
    """
    device = input_ids.device
    is_seg = torch.isin(input_ids, torch.tensor(seg_token_ids, device=device, dtype=input_ids.dtype))
    uneven = (is_seg.sum(dim=1) % group_size).nonzero()
    if len(uneven):
        row = int(uneven[0])
        raise ValueError(
            f"sequence {row} holds {int(is_seg[row].sum())} segmentation tokens; every object needs {group_size}"
        )
    rows, columns = is_seg.nonzero(as_tuple=True)
    sequence, positions = rows[::group_size], columns.reshape(-1, group_size)
    pair_object, pair_frame, pair_token = pair_with_frames(sequence, group_size, frame_visual, sequence_visual)
    return ObjectIndex(sequence, positions, pair_object, pair_frame, pair_token)


def pair_with_frames(
    sequence: torch.Tensor,
    group_size: int,
    frame_visual: torch.Tensor | None,
    sequence_visual: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Every object with every frame of its visual: (P,) object, frame row, token of the group; see `ObjectIndex`."""
    if frame_visual is None or sequence_visual is None:
        nothing = sequence.new_zeros(0)
        return nothing, nothing, nothing
    visual = sequence_visual.to(sequence.device)[sequence]
    frame_visual = frame_visual.to(sequence.device)
    pair_object, pair_frame = (visual[:, None] == frame_visual[None]).nonzero(as_tuple=True)
    first = torch.searchsorted(frame_visual.contiguous(), frame_visual.contiguous())
    place = pair_frame - first[pair_frame]
    return pair_object, pair_frame, place.clamp(max=group_size - 1)


__all__ = ["ObjectIndex", "find_objects", "pair_with_frames"]
