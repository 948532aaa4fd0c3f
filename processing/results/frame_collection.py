"""The frames of a whole video put together again.

In: every `FrameResult` of a video. Out: one `SegmentationResult` per answer, as `build_results` would have made it
(METHOD section 6).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch

from desa2va.processing.files import MaskOptions, encode_mask, mask_area
from desa2va.processing.inputs import FrameSource

from .answer_text import ParsedAnswer
from .frame_results import FrameObject, FrameResult
from .results import ObjectResult, SegmentationResult
from .statuses import object_status, presence_logit, told_of_answer


def collect_frames(
    frames: Iterable[FrameResult],
    answers: Sequence[ParsedAnswer],
    video: FrameSource,
) -> list[SegmentationResult]:
    """Puts the frames of a whole video together, as `post_process` would have returned them.

    Args:
        frames: every frame of the video once, in any order.
        answers: what was said to each request.
        video: the frames themselves, for name, frame rate and overlays.

    Returns:
        One result per answer. With several answers their objects are numbered from 0 within each; with one they keep
        their numbers. An object that a frame does not list counts as absent there.

    Raises:
        ValueError: a frame is missing or comes twice, an object belongs to no answer, or frames were made with
            different options.
    """
    rows, options = _frames_of_objects(frames, len(video), len(answers))
    results = []
    for request, answer in enumerate(answers):
        mine = [_object_of_frames(rows[key], video, options) for key in sorted(rows) if key[0] == request]
        for place, entry in enumerate(mine):
            entry.object_id = place if len(answers) > 1 else entry.object_id
            entry.span = answer.span(place)
        told = told_of_answer(answer.text, mine, answer.task)
        result = SegmentationResult(answer.text, answer.raw_text, mine, *told, request=answer.request)
        result.height, result.width, result.num_frames = video.height, video.width, len(video)
        result.fps, result.name, result.source, result.options = video.fps, video.name, video, options
        result.target_score = getattr(answer, "target_score", None)
        results.append(result)
    return results


def _frames_of_objects(
    frames: Iterable[FrameResult], num_frames: int, num_answers: int
) -> tuple[dict[tuple[int, int], list[FrameObject | None]], MaskOptions]:
    """Every object, by request and number, on each frame, `None` where a frame does not list it; and the options."""
    seen: set[int] = set()
    options: MaskOptions | None = None
    rows: dict[tuple[int, int], list[FrameObject | None]] = {}
    for result in frames:
        if result.frame in seen or not 0 <= result.frame < num_frames:
            raise ValueError(f"frame {result.frame} of a video of {num_frames} frames comes twice or does not exist")
        seen.add(result.frame)
        options = options or result.options
        if result.options != options:
            raise ValueError(
                f"frame {result.frame} was made with {result.options}, the frames before it with {options}"
            )
        for entry in result.objects:
            if not 0 <= entry.request < num_answers:
                raise ValueError(f"object {entry.object_id} answers request {entry.request} of {num_answers}")
            rows.setdefault((entry.request, entry.object_id), [None] * num_frames)[result.frame] = entry
    if len(seen) < num_frames:
        missing = min(set(range(num_frames)) - seen)
        raise ValueError(f"{len(seen)} frames of {num_frames} are given; frame {missing} is missing")
    return rows, options


def _object_of_frames(row: list[FrameObject | None], video: FrameSource, options: MaskOptions) -> ObjectResult:
    """One object over all frames; its place in the answer is filled in later."""
    first = next(entry for entry in row if entry is not None)
    empty = encode_mask(np.zeros((video.height, video.width), dtype=bool))
    codes = [empty if entry is None else entry.code for entry in row]
    scores = [0.0 if entry is None else entry.object_score for entry in row]
    present = any(entry is not None and entry.status != "no_target" for entry in row)
    best = max(range(len(row)), key=scores.__getitem__)
    drawn = any(mask_area(code) for code in codes)
    best_of = presence_logit(scores[best]), best
    status, reason = object_status(present, drawn, best_of, options, first.forced, first.target_score)
    kept = [entry.logits for entry in row if entry is not None and entry.logits is not None]
    return ObjectResult(
        object_id=first.object_id,
        status=status,
        reason=reason,
        phrase=first.phrase,
        span=None,
        seg_probability=first.seg_probability,
        codes=codes,
        iou_scores=[0.0 if entry is None else entry.iou_score for entry in row],
        object_scores=scores,
        logits=torch.stack(kept) if len(kept) == len(row) else None,
        forced=first.forced,
        two_step=options.two_step_resize,
        agreement=first.agreement,
    )


__all__ = ["collect_frames"]
