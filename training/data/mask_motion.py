"""Do the masks of a video belong to its frames, or to earlier or later ones?

Enters: a record of a video. Leaves: by how many frames its masks are off, and whether that grows. Two cues have to
agree before anything is said: where a mask changes between two frames, the picture changes too (motion against
motion), and a mask's outline lies on the edges of the picture. Where little moves nothing is said. (Data quality; no
paper section.)
"""

from __future__ import annotations

from itertools import islice

import numpy as np
from PIL import Image

from desa2va.processing.files import decode_mask

from .record_media import iterate_frames
from .records import Record, RecordError

_SIDE = 216  # pixels of the longest side; enough to see an object move
_MOST_FRAMES = 240
_REACH = 4  # frames that masks are tried earlier and later
_FEWEST = 5  # pairs of frames with a mask that moves
_CLEARER = 1.15  # times as much motion under the moved masks as under those as they are


def mask_offset(frames: np.ndarray, masks: np.ndarray) -> int | None:
    """By how many frames masks come too late (positive) or too early; `None` where it can not be told.

    Args:
        frames: float `(T, H, W)`, grey. masks: bool `(T, H, W)`.
    """
    changes, motion = masks[1:] ^ masks[:-1], np.abs(np.diff(frames, axis=0))
    edges, outlines = np.stack([_gradient(frame) for frame in frames]), np.stack([_outline(mask) for mask in masks])
    moved = {k: _agreement(motion, changes, k) for k in range(-_REACH, _REACH + 1)}
    moved = {k: score for k, score in moved.items() if score is not None}
    if 0 not in moved or len(moved) < 3:
        return None
    best = max(moved, key=moved.__getitem__)
    on_edges = [_agreement(edges, outlines, k) or 0.0 for k in (best, 0)]
    if best != 0 and (moved[best] < _CLEARER * moved[0] or on_edges[0] < on_edges[1]):
        return None
    return best


def _agreement(strength: np.ndarray, where: np.ndarray, offset: int) -> float | None:
    """Mean strength `(T, H, W)` under masks from `offset` frames later, in units of the whole frame's; `None`: too
    few frames hold any.
    """
    length = len(strength)
    scores = []
    for t in range(max(0, -offset), min(length, length - offset)):
        under = where[t + offset]
        if under.any():
            scores.append(strength[t][under].mean() / (strength[t].mean() + 1e-6))
    return float(np.mean(scores)) if len(scores) >= _FEWEST else None


def _gradient(frame: np.ndarray) -> np.ndarray:
    return np.hypot(*np.gradient(frame))


def _outline(mask: np.ndarray) -> np.ndarray:
    outline = np.zeros_like(mask)
    outline[:, 1:] |= mask[:, 1:] != mask[:, :-1]
    outline[1:] |= mask[1:] != mask[:-1]
    return outline


def misplaced_masks(record: Record) -> list[RecordError]:
    """The problem of a video whose masks belong to other frames; none where all is well, or can not be told.

    Raises:
        ValueError: a frame that can not be decoded.
    """
    if not record.is_video or record.num_frames <= _FEWEST:
        return []
    masks = _small_masks(record)
    if masks is None:
        return []
    frames = _small_frames(record, masks.shape[1:])
    masks = masks[: len(frames)]
    half = len(frames) // 2
    offset, first, last = (
        mask_offset(frames[part], masks[part]) for part in (slice(None), slice(0, half), slice(half, None))
    )
    if first is not None and last is not None and first != last and abs(last) >= 1:
        message = (
            f"masks drift: {_told(first)} in the first half and {_told(last)} in the second; the frame rates differ"
        )
    elif offset:
        message = f"masks are {_told(offset)}: they agree with the motion of the picture when moved by that"
    else:
        return []
    return [RecordError(record.name, "masks", message)]


def _told(offset: int) -> str:
    if offset == 0:
        return "in place"
    return f"{abs(offset)} frame{'s' * (abs(offset) > 1)} too {'late' if offset > 0 else 'early'}"


def _small_masks(record: Record) -> np.ndarray | None:
    """The union of a record's targets, bool `(T, h, w)`; `None` without any."""
    codes = {
        tuple(None if code is None else code["counts"] for code in target.codes): target.codes
        for dialogue in record.dialogues
        for target in dialogue.targets
    }
    if not codes:
        return None
    small = _small(record.size)
    rows, columns = (np.linspace(0, record.size[axis] - 1, small[axis]).astype(int) for axis in (0, 1))
    united = np.zeros((min(record.num_frames, _MOST_FRAMES), len(rows), len(columns)), bool)
    for listed in codes.values():
        for own, code in zip(united, listed, strict=False):
            if code is not None:
                own |= decode_mask(code)[rows[:, None], columns]
    return united


def _small(size: tuple[int, int]) -> tuple[int, int]:
    scale = min(1.0, _SIDE / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _small_frames(record: Record, size: tuple[int, ...]) -> np.ndarray:
    """Grey frames, float32 `(T, h, w)`."""
    return np.stack(
        [
            np.asarray(Image.fromarray(picture).convert("L").resize(size[::-1], Image.Resampling.BOX), np.float32)
            for picture in islice(iterate_frames(record), min(record.num_frames, _MOST_FRAMES))
        ]
    )


__all__ = ["mask_offset", "misplaced_masks"]
