"""Words in an interactive session: one sentence to objects with masks on key frames (METHOD section 6).

Enters: a sentence about a video. Leaves: the objects of the answer that are visible on at least one key frame, ready
to condition the tracker there, and what was said, with a typed status where nothing was found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from desa2va.modeling_desa2va.answering import choose_key_frames
from desa2va.modeling_desa2va.outputs import ImageFeatures, MaskPrediction
from desa2va.modeling_desa2va.tracking import resize_logits
from desa2va.processing.files import encode_mask
from desa2va.processing.results import FORCED, is_refused, object_status

from .store import GivenPrompt

MAX_NEW_TOKENS = 128


@dataclass
class SessionAnswer:
    """What the model said to the last sentence of a session.

    Attributes:
        text: without control tokens. raw_text: with `[SEG]`, `<p>` and `</p>`.
        status: `"ok"` if any object was found; `"no_seg_token"`: the answer marks no object; `"no_target"`: its
            objects are judged absent on every key frame; `"empty_mask"`: present somewhere, but without a pixel.
        reason: why the status is not `"ok"`, which objects of the answer were not found, or that they were forced;
            else empty.
        object_ids: the objects that were added.
        forced: the model preferred not to mark anything; see `ObjectResult`.
        target_score: of a calibrated model; see `SegmentationResult`. Below its threshold nothing is added.
    """

    text: str
    raw_text: str
    status: str
    reason: str = ""
    object_ids: list[int] = field(default_factory=list)
    forced: bool = False
    target_score: float | None = None


@dataclass
class FoundObject:
    """An object that a sentence found.

    Attributes:
        phrase: what it is called, see `ObjectResult`. seg_probability: of its `[SEG]`. forced: see
            `ObjectResult`.
        prompts: key frame -> the mask that conditions the tracker, and the language pass' own logits and scores (one
            pair), which are reported there. denied: key frame -> object score where that pass saw it absent.
    """

    phrase: str | None
    seg_probability: float
    forced: bool
    prompts: dict[int, tuple[GivenPrompt, MaskPrediction]]
    denied: dict[int, float]


def ask_for_objects(
    model: Any, processor: Any, video: Any, text: str, key_frames: str | Sequence[int] | None
) -> tuple[SessionAnswer, list[FoundObject], dict[int, ImageFeatures]]:
    """Asks the model for objects in a video.

    Args:
        model: a `DeSa2VAModel` in eval mode. processor: its `DeSa2VAProcessor`.
        video: a `FrameSource`.
        text: a request or a bare phrase, which is wrapped into a request.
        key_frames: as the processor takes them, or `"auto"` (`choose_key_frames`).

    Returns:
        The answer (its `object_ids` still empty), the objects found, and the key frames' encodings at hand.
    """
    known: dict[int, ImageFeatures] = {}
    if key_frames == "auto":
        choice = choose_key_frames(model, processor, video, text, max_new_tokens=MAX_NEW_TOKENS)
        key_frames, known = choice.key_frames, choice.known
    batch = processor(videos=video, text=text, task="segment", key_frames=key_frames)
    answer = model.answer_key_frames(**batch, known=known, max_new_tokens=MAX_NEW_TOKENS)
    parsed = processor.answer_parser.parse(answer.sequences[0].tolist(), text)
    seen = answer.visuals[0]
    features = _encodings(seen)
    reply = SessionAnswer(parsed.text, parsed.raw_text, "ok", forced=bool(answer.seg_forced.any()))
    if answer.target_score is not None:
        reply.target_score = float(answer.target_score[0])
    options = model.mask_options()
    if seen.objects and is_refused(reply.target_score, options):
        reply.status, reply.reason = object_status(False, False, (0.0, 0), options, reply.forced, reply.target_score)
        return reply, [], features
    thresholds = model.config.mask_threshold, model.config.object_score_threshold
    found, missing = [], []
    for row in range(len(seen.objects)):
        prompts = _visible(seen, row, model.segmenter.sam.image_size, *thresholds)
        phrase = parsed.phrase(row)
        if prompts:
            probability, forced = float(answer.seg_probability[row]), bool(answer.seg_forced[row])
            found.append(FoundObject(phrase, probability, forced, prompts, _denied(seen, row, thresholds[1])))
        else:
            best = float(seen.masks.object_score[row].max())
            missing.append((phrase, best, best > thresholds[1]))
    if not seen.objects:
        reply.status, reply.reason = "no_seg_token", "the answer holds no [SEG]; the model marked no object"
    elif missing:
        if not found:
            reply.status = "empty_mask" if any(present for _, _, present in missing) else "no_target"
        frames = ", ".join(str(frame) for frame in seen.key_frames)
        reply.reason = "; ".join(
            f"{name} has no mask on the key frames {frames} (highest object score {best:.2f}, a logit)"
            for name, best, _ in missing
        )
    if reply.forced:
        reply.reason = "; ".join(part for part in (reply.reason, FORCED) if part)
    return reply, found, features


def _encodings(seen: Any) -> dict[int, ImageFeatures]:
    """The encodings of the key frames, one row each."""
    if seen.features is None:
        return {}
    return {frame: seen.features.select(slice(row, row + 1)) for row, frame in enumerate(seen.key_frames)}


def _visible(
    seen: Any, row: int, size: int, mask_threshold: float, score_threshold: float
) -> dict[int, tuple[GivenPrompt, MaskPrediction]]:
    """Key frames on which object `row` is present with at least one pixel; the rule of the strategy `consistent`."""
    prompts = {}
    for column, frame in enumerate(seen.key_frames):
        pair = MaskPrediction(
            *(getattr(seen.masks, name)[row, column][None] for name in ("logits", "iou", "object_score"))
        )
        inside = (resize_logits(pair.logits.float(), size) > mask_threshold)[0]
        if pair.object_score > score_threshold and inside.any():
            prompts[frame] = GivenPrompt(mask=encode_mask(inside.cpu().numpy())), pair
    return prompts


def _denied(seen: Any, row: int, score_threshold: float) -> dict[int, float]:
    """Key frames on which object `row` is judged absent, with its score; the rule of the strategy `consistent`."""
    scores = zip(seen.key_frames, seen.masks.object_score[row].tolist(), strict=True)
    return {frame: score for frame, score in scores if not score > score_threshold}


__all__ = ["FoundObject", "SessionAnswer", "ask_for_objects"]
