"""What became of an object or an answer: a status, and why it is not `"ok"`.

In: presence, masks and scores of one object; or the statuses of an answer's objects. Out: `(status, reason)`. METHOD
section 6: a blank mask is never handed over without a word. `result_checks.STATUSES` lists them all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from desa2va.processing.files import MaskOptions
from desa2va.processing.inputs import WORD_TASKS

from .counts import count_remarks

FORCED = "the model would have marked nothing; task='segment' forced its [SEG] (seg_probability: how likely it was)"


def words_alone(task: str) -> str:
    """Why an answer marks nothing where the task allowed no `[SEG]`."""
    return f"task={task!r} is answered in words alone and marks nothing"


def told_of_answer(text: str, objects: Sequence[Any], task: str = "auto", in_words: bool = True) -> tuple[str, str]:
    """Status and reason of an answer about a picture or video, and what is to be told of the numbers in its text.

    Args:
        text: the answer without control tokens.
        objects: its objects, numbered: `object_id`, `status`, `reason` and `span` of each.
        task: how it was asked.
        in_words: false where prompts alone were given.
    """
    if not objects and not in_words:
        return "no_seg_token", "no point, box or mask marks an object here"
    if not objects:
        silent = "the answer holds no [SEG]; the model marked no object"
        return "no_seg_token", words_alone(task) if task in WORD_TASKS else silent
    statuses = [entry.status for entry in objects]
    status = next((one for one in ("ok", "empty_mask") if one in statuses), "no_target")
    told = [entry for entry in objects if entry.reason and (status != "ok" or entry.status == "ok")]
    reasons = [f"object {entry.object_id}: {entry.reason}" for entry in told]
    return status, "; ".join([*reasons, *count_remarks(text, objects)])


def is_refused(target_score: float | None, options: MaskOptions) -> bool:
    """Whether a request counts as having no target.

    Args:
        target_score: of the request, in [0, 1]; `None` of a model that was not calibrated, which refuses nothing.
        options: complete; hold the threshold.
    """
    return target_score is not None and target_score < options.target_threshold


def object_status(
    present: bool,
    drawn: bool,
    best: tuple[float, int],
    options: MaskOptions,
    forced: bool = False,
    target_score: float | None = None,
) -> tuple[str, str]:
    """Status and reason of one object.

    Args:
        present: its object score is above the threshold on some frame.
        drawn: its mask has a pixel on some frame.
        best: its highest object score, a logit, and the frame that has it.
        options: complete; whose thresholds the reason names.
        forced: see `ObjectResult`.
        target_score: see `is_refused`; of the object's request.
    """
    if is_refused(target_score, options):
        status = "no_target"
        reason = f"the request's target score {target_score:.3f} is below the threshold {options.target_threshold:.3f}"
    else:
        status, reason = _mask_status(present, drawn, best, options)
    return status, "; ".join(part for part in (reason, FORCED if forced else "") if part)


def _mask_status(present: bool, drawn: bool, best: tuple[float, int], options: MaskOptions) -> tuple[str, str]:
    if drawn:
        return "ok", ""
    if present:
        reason = f"no pixel is above the mask threshold {options.mask_threshold:g} where the object is judged present"
        return "empty_mask", reason
    return "no_target", (
        f"the object is judged absent on every frame (highest object score {best[0]:.2f} on frame {best[1]}, "
        f"threshold {options.object_score_threshold:g}; logits)"
    )


def highest(values: Iterable[float] | None) -> float | None:
    """The highest number, for the agreement of an object over its key frames; `None` where there is none."""
    known = [] if values is None else [float(value) for value in values if not math.isnan(value)]
    return max(known, default=None)


def frame_status(drawn: bool, present: bool) -> str:
    """Status of one object on one frame: whether its mask has a pixel, and whether its object score says present."""
    return "ok" if drawn else "empty_mask" if present else "no_target"


def presence_probabilities(logits: Iterable[float]) -> list[float]:
    """Object scores in [0, 1] of their logits, each as it is alone.

    A tensor's sigmoid may round one number otherwise among others, so that a stream and the whole video would differ.
    """
    # The smaller of the two exponentials: the other overflows.
    tails = [(logit, math.exp(-abs(logit))) for logit in logits]
    return [(1 if logit >= 0 else tail) / (1 + tail) for logit, tail in tails]


def presence_logit(score: float) -> float:
    """The logit of an object score in [0, 1], for messages."""
    return math.log(score / (1 - score)) if 0 < score < 1 else math.copysign(math.inf, score - 0.5)


__all__ = [
    "FORCED",
    "frame_status",
    "highest",
    "is_refused",
    "object_status",
    "presence_logit",
    "presence_probabilities",
    "told_of_answer",
    "words_alone",
]
