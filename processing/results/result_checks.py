"""Do the parts of a result that was read from a file fit each other, and are a model's outputs numbers at all?

In: results whose fields have the right types (`files.read_dataclass`), or tensors. Out: nothing, or one `ValueError`
that says which object does not fit. (Engineering; no paper section.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

STATUSES = ("ok", "no_visual", "no_seg_token", "no_target", "empty_mask")


def check_result(result: Any) -> None:
    """Raises `ValueError` where the parts of a result do not fit each other; their types are right already."""
    if min(result.height, result.width, result.num_frames) < 0 or (result.fps is not None and result.fps <= 0):
        raise ValueError("height, width and num_frames must not be negative, and fps not 0")
    check_numbers(result.objects)
    for entry in result.objects:
        where = f"object {entry.object_id}"
        check_status(entry.status, where)
        agreement = () if entry.agreement is None else (entry.agreement,)
        check_probabilities(where, entry.seg_probability, *entry.object_scores, *agreement)
        lists = (entry.codes, entry.iou_scores, entry.object_scores)
        if any(len(values) != result.num_frames for values in lists):
            counts = ", ".join(str(len(values)) for values in lists)
            raise ValueError(f"{where} has {counts} codes, iou_scores, object_scores for {result.num_frames} frames")
        branches = (entry.text_codes, entry.visual_codes, entry.disagreement)
        if any(len(values) != len(entry.key_frames) for values in branches):
            raise ValueError(f"{where} has other numbers of key frames and of masks of its branches")
        if not all(0 <= frame < result.num_frames for frame in entry.key_frames):
            raise ValueError(f"{where} has key frames outside 0 to {result.num_frames - 1}")
        for code in (*entry.codes, *entry.text_codes, *entry.visual_codes):
            check_code_size(code, (result.height, result.width), where)
        if entry.span is not None and not 0 <= entry.span[0] <= entry.span[1] <= len(result.text):
            raise ValueError(f"{where} has the span {list(entry.span)} of a text of {len(result.text)} characters")
    check_status(result.status, "the result")
    check_probabilities("the result", *(() if result.target_score is None else (result.target_score,)))


def check_status(status: str, where: str) -> None:
    """Raises `ValueError` for a status that no result has."""
    if status not in STATUSES:
        raise ValueError(f"{where} has the unknown status {status!r:.40}; there are {', '.join(STATUSES)}")


def check_probabilities(where: str, *values: float) -> None:
    """Raises `ValueError` naming the first value outside [0, 1]."""
    wrong = next((value for value in values if not 0 <= value <= 1), None)
    if wrong is not None:
        raise ValueError(f"{where} has the probability {wrong:g}, which is not in [0, 1]")


def check_code_size(code: dict[str, Any], size: tuple[int, int], where: str) -> None:
    """Raises `ValueError` unless a code is of the size of the picture."""
    if code["size"] != list(size):
        raise ValueError(f"{where} has a mask of {code['size']}, the picture is {list(size)} (height, width)")


def check_numbers(objects: Sequence[Any]) -> None:
    """Raises `ValueError` unless every object has a number of its own."""
    numbers = [entry.object_id for entry in objects]
    if len(set(numbers)) != len(numbers) or min(numbers, default=0) < 0:
        raise ValueError(f"the object numbers {str(numbers):.80} are not unique, or negative")


def refuse_nan(values: torch.Tensor, name: str, where: str) -> None:
    """Raises `ValueError` where a model's output holds NaN, which no threshold tells from "absent".

    Args:
        values: any shape. name: what they are. where: object and frame, for the message.
    """
    if values.isnan().any():
        raise ValueError(
            f"{where}: the {name} is not a number; the weights are broken or overflow in this dtype (`desa2va doctor` "
            "checks them; try dtype=float32)"
        )


__all__ = [
    "STATUSES",
    "check_code_size",
    "check_numbers",
    "check_probabilities",
    "check_result",
    "check_status",
    "refuse_nan",
]
