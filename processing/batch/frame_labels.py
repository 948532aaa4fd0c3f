"""What is written in front of each frame of a video: its number, its time, or nothing.

In: the seconds of the frames shown. Out: one text for each. InternVL was trained with `Frame1: `, Qwen3-VL with
`<0.5 seconds>`; frames are images here, which know no time of their own (docs/decisions.md).
"""

from __future__ import annotations

from collections.abc import Sequence

FRAME_LABELS = ("number", "time", "none")


def default_labels(mllm_type: str, prompt_rule: str) -> str:
    """The labels that the language model knows from its own training; none by Sa2VA's rule."""
    if prompt_rule == "sa2va":
        return "none"
    return "number" if mllm_type == "internvl" else "time"


def frame_texts(labels: str, seconds: Sequence[float]) -> list[str]:
    """The text in front of each frame of a video; empty for a single frame, which reads like a picture.

    Args:
        labels: one of `FRAME_LABELS`. seconds: of the frames shown, rising.
    """
    if len(seconds) < 2 or labels == "none":
        return [""] * len(seconds)
    if labels == "number":
        return [f"Frame{number}: " for number in range(1, len(seconds) + 1)]
    return [f"<{second:.1f} seconds>" for second in seconds]


__all__ = ["FRAME_LABELS", "default_labels", "frame_texts"]
