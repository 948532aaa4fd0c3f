"""Model outputs to typed results: a text, its objects with masks at source resolution, and a status with a reason.

In: the outputs of `DeSa2VAModel.generate` and the batch they belong to. Out: one `SegmentationResult` per sequence.
METHOD section 6: every object and frame carries mask, predicted IoU and object score, and an answer without a mask
says why.
"""

from __future__ import annotations

from typing import Any

import torch

from desa2va.processing.files import (
    MaskOptions,
    empty_code,
    frame_codes,
    logits_to_codes,
    mask_area,
    mask_iou,
)
from desa2va.processing.inputs import region_phrase, task_of_each

from .answer_text import AnswerParser, ParsedAnswer
from .explanation import BranchLogits
from .result_checks import refuse_nan
from .results import ObjectResult, SegmentationResult
from .statuses import highest, is_refused, object_status, presence_probabilities, told_of_answer

_NO_VISUAL = "the request is about no picture or video; nothing can be marked"


def build_results(outputs: Any, inputs: Any, parser: AnswerParser, options: MaskOptions) -> list[SegmentationResult]:
    """Results of a batch.

    Args:
        outputs: `DeSa2VAGenerateOutput` (`sequences`, `object_sequence`, `seg_probability`, `track_logits`,
            `track_iou`, `track_object_score`, and where present `seg_forced`, `target_score`, at the key frames
            `text_logits` and `visual_logits`, and `mask_options`, which say what `options` leave open).
        inputs: the `DeSa2VABatch` the outputs were generated from.
        parser: reads the answers.
        options: thresholds and what is done to the masks. Masks of single branches are thresholded only.

    Returns:
        One result per sequence.

    Raises:
        ValueError: the outputs do not belong to the inputs.
    """
    options = options.completed(getattr(outputs, "mask_options", None))
    visual_of = torch.as_tensor(inputs["sequence_visual"]).tolist()
    tasks = task_of_each(inputs.get("task", "auto"), len(visual_of))
    requests = inputs.get("requests") or [""] * len(visual_of)
    sequences, in_words = getattr(outputs, "sequences", None), "input_ids" in inputs
    answers = [ParsedAnswer() for _ in visual_of]
    if sequences is not None:
        if len(sequences) != len(visual_of):
            raise ValueError(f"outputs hold {len(sequences)} sequences, inputs {len(visual_of)}")
        answers = [
            parser.parse([int(index) for index in row], request, task)
            for row, request, task in zip(sequences, requests, tasks, strict=True)
        ]
    results = [
        _empty_result(answer, request, inputs["visuals"][visual] if visual >= 0 else None)
        for answer, request, visual in zip(answers, requests, visual_of, strict=True)
    ]
    owners = torch.as_tensor(outputs.object_sequence).tolist()
    shown = [inputs["visuals"][visual_of[sequence]] for sequence in owners]
    scores = _target_scores(outputs, results)
    codes = _masks_of_visuals(outputs, shown, options, [is_refused(scores[row], options) for row in owners])
    for index, sequence in enumerate(owners):
        entry = _object_result(outputs, index, shown[index], codes[index], options, scores[sequence])
        result, answer = results[sequence], answers[sequence]
        entry.object_id = len(result.objects)
        entry.phrase, entry.span = answer.phrase(entry.object_id), answer.span(entry.object_id)
        if not in_words:
            entry.phrase = region_phrase(entry.object_id + 1)
        result.objects.append(entry)
    for result, visual, task in zip(results, visual_of, tasks, strict=True):
        result.options = options
        if visual >= 0:
            result.status, result.reason = told_of_answer(result.text, result.objects, task, in_words)
    return results


def _empty_result(answer: ParsedAnswer, request: str, info: Any) -> SegmentationResult:
    result = SegmentationResult(answer.text, answer.raw_text, [], "no_visual", _NO_VISUAL, request=request)
    if info is not None:
        result.height, result.width, result.num_frames = info.height, info.width, info.num_frames
        result.fps, result.source, result.name = info.fps, info.source, info.source.name
    return result


def _target_scores(outputs: Any, results: list[SegmentationResult]) -> list[float | None]:
    """The target score of every request, which its result is told."""
    given = getattr(outputs, "target_score", None)
    for place, result in enumerate(results):
        result.target_score = None if given is None else float(given[place])
    return [result.target_score for result in results]


def _masks_of_visuals(
    outputs: Any, shown: list[Any], options: MaskOptions, refused: list[bool]
) -> list[list[dict[str, Any]]]:
    """COCO codes of every object of the batch on every frame of the visual it is on; empty ones of those `refused`.

    Raises:
        ValueError: logits of another number of frames than the visual has, or NaN among them.
    """
    codes: list[list[dict[str, Any]]] = [[] for _ in shown]
    together: dict[int, list[int]] = {}
    for index, info in enumerate(shown):
        count = len(outputs.track_logits[index])
        if count != info.num_frames:
            raise ValueError(f"object {index} has masks of {count} frames, {info.source.name} has {info.num_frames}")
        where = f"object {index} of {info.source.name}"
        for name, kind in (("track_logits", "mask"), ("track_iou", "predicted IoU"), ("track_object_score", "score")):
            refuse_nan(torch.as_tensor(getattr(outputs, name)[index]), kind, where)
        together.setdefault(id(info), []).append(index)
    for everything in together.values():
        info = shown[everything[0]]
        objects = [index for index in everything if not refused[index]]  # the others claim no pixel either
        empty = empty_code((info.height, info.width))
        for index in set(everything) - set(objects):
            codes[index] = [empty] * info.num_frames
        if not objects:
            continue
        for t in range(info.num_frames):
            logits = torch.stack([outputs.track_logits[index][t] for index in objects])
            present = [
                bool(outputs.track_object_score[index][t] > options.object_score_threshold) for index in objects
            ]
            on_frame = frame_codes(logits, present, (info.height, info.width), options)
            for index, code in zip(objects, on_frame, strict=True):
                codes[index].append(code)
    return codes


def _object_result(
    outputs: Any,
    index: int,
    info: Any,
    codes: list[dict[str, Any]],
    options: MaskOptions,
    target_score: float | None,
) -> ObjectResult:
    """Object `index` of the batch; its number and phrase are filled in later."""
    scores = torch.as_tensor(outputs.track_object_score[index]).float().cpu()
    best = int(scores.argmax())
    present, drawn = bool(scores[best] > options.object_score_threshold), any(mask_area(code) for code in codes)
    given = getattr(outputs, "seg_forced", None)
    forced = given is not None and bool(given[index])
    status, reason = object_status(present, drawn, (float(scores[best]), best), options, forced, target_score)
    entry = ObjectResult(
        object_id=0,
        status=status,
        reason=reason,
        phrase=None,
        span=None,
        seg_probability=float(outputs.seg_probability[index]),
        codes=codes,
        iou_scores=torch.as_tensor(outputs.track_iou[index]).float().tolist(),
        object_scores=presence_probabilities(scores.tolist()),
        logits=outputs.track_logits[index].detach().float().cpu() if options.keep_logits else None,
        forced=forced,
        two_step=options.two_step_resize,
        agreement=None if getattr(outputs, "agreement", None) is None else highest(outputs.agreement[index]),
    )
    _add_branches(entry, outputs, index, info, options)
    return entry


def _add_branches(entry: ObjectResult, outputs: Any, index: int, info: Any, options: MaskOptions) -> None:
    """What both decoders said on the key frames, where the outputs hold it."""
    names = ("text_logits", "visual_logits", "fused_logits", "gates")
    kept = [getattr(outputs, name, None) for name in names]
    if kept[1] is None:
        return
    entry.branches = BranchLogits(*(None if values is None else values[index] for values in kept))
    if entry.branches.text is None:
        return
    entry.key_frames = list(info.key_frames)
    rules = (info.height, info.width), options.mask_threshold, options.two_step_resize
    entry.text_codes = logits_to_codes(entry.branches.text, *rules)
    entry.visual_codes = logits_to_codes(entry.branches.visual, *rules)
    pairs = zip(entry.text_codes, entry.visual_codes, strict=True)
    entry.disagreement = [1 - mask_iou(one, other) for one, other in pairs]


__all__ = ["build_results"]
