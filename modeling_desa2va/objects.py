"""Where the objects of a batch are: which `[SEG]` tokens, in which sequence, on which frames.

Enters: token ids and the maps sequence -> visual -> frames. Leaves: flat, ragged indices; nothing is padded, dropped
or repeated.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch


class Pairs(NamedTuple):
    """P object-frame pairs.

    Attributes:
        object, frame: (P,) object, and row of the SAM-2 frames. time: (P,) t in [-1, 1], see `rank_time`.
        token: (P,) which of the S tokens prompts the pair: the frame's place in its visual, the last token for frames
            beyond.
    """

    object: torch.Tensor
    frame: torch.Tensor
    token: torch.Tensor
    time: torch.Tensor


@dataclass(frozen=True)
class ObjectIndex:
    """Flat indices of a batch's O objects and P object-frame pairs.

    Attributes:
        sequence: (O,) row of `input_ids`. positions: (O, S) columns of the object's S segmentation tokens.
        pairs: objects with the frames of their visuals.
    """

    sequence: torch.Tensor
    positions: torch.Tensor
    pairs: Pairs


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
    return ObjectIndex(sequence, positions, pair_with_frames(sequence, group_size, frame_visual, sequence_visual))


def pair_with_frames(
    sequence: torch.Tensor,
    group_size: int,
    frame_visual: torch.Tensor | None,
    sequence_visual: torch.Tensor | None,
) -> Pairs:
    """Every object with every frame of its visual; `sequence` (O,) is the objects', the rest as in `find_objects`."""
    if frame_visual is None or sequence_visual is None:
        nothing = sequence.new_zeros(0)
        return Pairs(nothing, nothing, nothing, nothing.float())
    visual = sequence_visual.to(sequence.device)[sequence]
    frame_visual = frame_visual.to(sequence.device)
    pair_object, pair_frame = (visual[:, None] == frame_visual[None]).nonzero(as_tuple=True)
    place, count = _places(frame_visual)
    time = rank_time(place, count)
    return Pairs(pair_object, pair_frame, place[pair_frame].clamp(max=group_size - 1), time[pair_frame])


def _places(frame_visual: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """For each of F frames its rank within its visual, and the visual's number of frames, both (F,)."""
    owner = frame_visual.contiguous()
    first, end = torch.searchsorted(owner, owner), torch.searchsorted(owner, owner, right=True)
    return torch.arange(len(owner), device=owner.device) - first, end - first


def rank_time(rank: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """Time t in [-1, 1] of the key frame number `rank` of `count`: `2 rank / (count - 1) - 1`, 0 for a single frame.

    Rank, not seconds: InternVL is told "Frame1", "Frame2", ..., never a time stamp, so it can describe a change from
    one frame shown to the next and over all that is shown, whatever the length of the clip; and where times are told
    (`frame_labels`), two clips of different length still use the same scale.
    """
    time = 2 * rank.float() / (count - 1).clamp(min=1) - 1
    return torch.where(count > 1, time, torch.zeros_like(time))


def frame_times(frame_visual: torch.Tensor) -> torch.Tensor:
    """Time t (F,) of the key frames shown, from the visual of each frame (F,); see `rank_time`."""
    return rank_time(*_places(frame_visual))


def time_between(frame: int, key_frames: Sequence[int]) -> float:
    """Time t of any frame of a video: that of a key frame, linear between two, constant before and after them."""
    after = bisect_right(key_frames, frame)
    if 0 < after < len(key_frames):
        start, end = key_frames[after - 1], key_frames[after]
        rank = after - 1 + (frame - start) / (end - start)
    else:
        rank = float(min(after, len(key_frames) - 1))
    return float(rank_time(torch.tensor(rank), torch.tensor(len(key_frames))))


__all__ = ["ObjectIndex", "Pairs", "find_objects", "frame_times", "pair_with_frames", "rank_time", "time_between"]
