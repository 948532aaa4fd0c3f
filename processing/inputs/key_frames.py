"""Which frames of a video the language model sees.

In: a strategy and the number of frames. Out: frame indices in rising order. METHOD section 6, step 1: these frames go
to the language model and are decoded with the language prompts; the tracker covers all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from desa2va.configuration.integers import as_integer, is_integer

from .given_sources import shown

STRATEGIES = ("uniform", "first", "all")


def key_frame_indices(strategy: str, num_frames: int, count: int, explicit: Sequence[int] | None = None) -> list[int]:
    """Indices of the key frames.

    Args:
        strategy: `"uniform"` (evenly spread, with the first and the last frame), `"first"` (the first `count`, Sa2VA's
            choice) or `"all"`. Not read when `explicit` is given.
        num_frames: frames of the video, at least 1.
        count: how many; a video with fewer frames gives all of them.
        explicit: indices chosen by the caller.

    Returns:
        Rising indices without repetition.

    Raises:
        ValueError: unknown strategy, `count` below 1, or an explicit index that is not a frame or stands twice.
        TypeError: `count` is no integer.
    """
    if num_frames < 1:
        raise ValueError(f"num_frames={num_frames}: a video needs at least one frame")
    if explicit is not None:
        return _checked(list(explicit), num_frames)
    if strategy == "auto":
        raise ValueError(
            "key_frames='auto' lets the model choose, which a processor alone can not: call model.stream(..., "
            "key_frames='auto'), or pass the frames that choose_key_frames(model, processor, video, text) finds"
        )
    if strategy not in STRATEGIES:
        raise ValueError(
            f"key_frames={shown(strategy)} is unknown; choose one of {', '.join(STRATEGIES)} or give indices"
        )
    count = as_integer(count, "num_key_frames", least=1)
    if strategy == "all" or num_frames <= count:
        return list(range(num_frames))
    if strategy == "first":
        return list(range(count))
    if count == 1:
        return [0]
    return [(2 * index * (num_frames - 1) + count - 1) // (2 * (count - 1)) for index in range(count)]


def refuse_without_video(kinds: Sequence[str], **given: Any) -> None:
    """Raises `ValueError` for options about the frames of videos where there is none.

    Args:
        kinds: `"image"` or `"video"` of each visual. given: the options by name, `None` where they are left out.
    """
    named = [f"{name}=" for name, value in given.items() if value is not None]
    if named and "video" not in kinds:
        there = "only pictures are" if kinds else "no picture or video is"
        raise ValueError(f"{' and '.join(named)} choose frames of a video, but {there} given; leave them out")


def _checked(indices: list[int], num_frames: int) -> list[int]:
    """Sorted explicit indices."""
    if not indices:
        raise ValueError("key_frames is an empty list; give at least one frame index")
    for index in indices:
        if not is_integer(index) or not 0 <= index < num_frames:
            raise ValueError(f"key_frames holds {shown(index)}; frames of this video are 0 to {num_frames - 1}")
    indices = [as_integer(index, "key_frames") for index in indices]
    repeated = sorted({index for index in indices if indices.count(index) > 1})
    if repeated:
        raise ValueError(f"key_frames names frames {repeated} more than once")
    return sorted(indices)


__all__ = ["STRATEGIES", "key_frame_indices", "refuse_without_video"]
