"""Results one frame at a time, for videos that are too long, or not yet over, for one `SegmentationResult`.

In: what the tracker found on one frame. Out: `FrameResult` with one `FrameObject` per object; `collect_frames` puts
the frames of a whole video together again. Masks, scores and statuses are those of `results.build_results`, frame by
frame (METHOD section 6).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
import torch

from desa2va.processing.files import (
    Code,
    MaskOptions,
    decode_mask,
    encode_mask,
    frame_codes,
    mask_area,
    mask_box,
    overlay_masks,
    read_dataclass,
    resize_logits,
)
from desa2va.processing.inputs import FrameSource

from .answer_text import ParsedAnswer
from .result_checks import check_code_size, check_numbers, check_probabilities, check_status, refuse_nan
from .results import ObjectResult, SegmentationResult, answer_status, object_status


@dataclass(frozen=True)
class ObjectLabel:
    """What is known of an object before any frame is looked at.

    Attributes:
        object_id: its number, the same on every frame.
        phrase: what the answer calls it, where marked.
        request: number of the request (sentence) it answers.
        seg_probability: probability the language model gave to its `[SEG]`, in [0, 1]; 1 without language.
        forced: the model preferred another token; see `ObjectResult`.
    """

    object_id: int
    phrase: str | None = None
    request: int = 0
    seg_probability: float = 1.0
    forced: bool = False


@dataclass
class FrameObject:
    """One object on one frame.

    Attributes:
        object_id: see `ObjectLabel`, as `phrase`, `request`, `seg_probability` and `forced`.
        code: its mask as COCO run-length code at source size.
        iou_score: predicted IoU of the mask, in [0, 1]; of the mask before it was emptied where the object is absent.
        object_score: probability that the object is visible, in [0, 1]: the sigmoid of the logit that
            `object_score_threshold` is compared with.
        status: `"ok"`: a pixel; without any, `"no_target"`: absent by its object score, or `"empty_mask"`: judged
            present.
        logits: low-resolution logits float32 `(h, w)` on the CPU, if asked for, also where absent; never saved.
        two_step: how they are resized, see `MaskOptions`; never saved.
    """

    object_id: int
    code: Code
    iou_score: float
    object_score: float
    status: str = "ok"
    phrase: str | None = None
    request: int = 0
    seg_probability: float = 1.0
    logits: torch.Tensor | None = field(default=None, repr=False)
    forced: bool = False
    two_step: bool = field(default=False, repr=False, compare=False)

    @property
    def mask(self) -> np.ndarray:
        """Bool `(H_src, W_src)`."""
        return decode_mask(self.code)

    @property
    def area(self) -> int:
        """Pixels of the mask."""
        return mask_area(self.code)

    @property
    def box(self) -> tuple[int, int, int, int] | None:
        """`(x0, y0, x1, y1)` in source pixels around the mask, `None` where it is empty."""
        return mask_box(self.code)

    def source_logits(self) -> np.ndarray:
        """Mask logits float32 `(H_src, W_src)`, before any clean-up, also where the object is absent.

        Raises:
            ValueError: the logits were not kept.
        """
        if self.logits is None:
            raise ValueError("logits were not kept; ask for them with MaskOptions(keep_logits=True)")
        size = (self.code["size"][0], self.code["size"][1])
        return resize_logits(self.logits[None], size, self.two_step)[0].numpy()


@dataclass
class FrameResult:
    """Every object on one frame.

    Attributes:
        frame: number of the frame, from 0.
        timestamp: its seconds since the first frame; the frame number where the video has no frame rate.
        height: of the source, pixels.
        width: of the source, pixels.
        objects: all objects of the video, also those that are not on this frame.
        image: the frame, uint8 `(H_src, W_src, 3)` RGB, if asked for; never saved.
        options: complete; the thresholds and rules by which logits became masks.
    """

    frame: int
    timestamp: float
    height: int
    width: int
    objects: list[FrameObject]
    image: np.ndarray | None = field(default=None, repr=False)
    options: MaskOptions = field(default_factory=lambda: MaskOptions().completed())

    def overlay(self, image: np.ndarray | None = None) -> np.ndarray:
        """The masks drawn on the frame, uint8 `(H_src, W_src, 3)`.

        Args:
            image: the frame, where the result does not hold it.

        Raises:
            ValueError: there is no picture to draw on.
        """
        image = self.image if image is None else image
        if image is None:
            raise ValueError(f"the result of frame {self.frame} holds no picture to draw on; give it as image=")
        labels = [entry.phrase or f"object {entry.object_id}" for entry in self.objects]
        numbers = [entry.object_id for entry in self.objects]
        return overlay_masks(image, [entry.mask for entry in self.objects], labels, object_ids=numbers)

    def to_dict(self) -> dict[str, Any]:
        """Everything but `image` and `logits`, in plain types, with `box` and `area`; `from_dict` restores it."""
        objects = []
        for entry in self.objects:
            kept = [item.name for item in fields(entry) if item.name not in ("logits", "two_step")]
            plain = {name: getattr(entry, name) for name in kept}
            objects.append({**plain, "box": entry.box, "area": entry.area})
        data = {item.name: getattr(self, item.name) for item in fields(self) if item.name not in ("image", "objects")}
        return {**data, "options": asdict(self.options), "objects": objects}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> FrameResult:
        """Inverse of `to_dict`; checks everything, since files come from anywhere.

        Raises:
            ValueError: anything `to_dict` does not write; the field is named.
        """
        if not isinstance(data, dict) or not isinstance(data.get("objects"), list):
            raise ValueError("a frame result must be an object with a list of objects")
        objects = []
        for place, entry in enumerate(data["objects"]):
            plain = entry
            if isinstance(entry, dict):
                plain = {name: value for name, value in entry.items() if name not in ("box", "area")}
            objects.append(read_dataclass(FrameObject, plain, f"objects[{place}]", skip=("logits", "two_step")))
        rest = {name: value for name, value in data.items() if name != "objects"}
        result = read_dataclass(cls, rest, "a frame result", skip=("image",), objects=objects)
        result.options = result.options.completed()
        result._check()
        return result

    def _check(self) -> None:
        """Raises `ValueError` where the parts do not fit each other; their types are right already."""
        if self.frame < 0 or self.height < 1 or self.width < 1:
            raise ValueError(f"frame {self.frame} of {self.height} x {self.width} pixels is no frame")
        check_numbers(self.objects)
        for entry in self.objects:
            where = f"object {entry.object_id}"
            check_status(entry.status, where)
            if entry.request < 0:
                raise ValueError(f"{where} answers request {entry.request}")
            check_code_size(entry.code, (self.height, self.width), where)
            check_probabilities(where, entry.object_score, entry.seg_probability)


def frame_result(
    frame: int,
    timestamp: float,
    size: tuple[int, int],
    prediction: Any,
    labels: Sequence[ObjectLabel],
    options: MaskOptions | None = None,
    image: np.ndarray | None = None,
) -> FrameResult:
    """Builds the result of one frame.

    Args:
        frame: its number.
        timestamp: its time in seconds.
        size: height and width of the source.
        prediction: anything with `logits` `(n, h, w)`, `iou` `(n,)` and `object_score` `(n,)` (logits of presence).
        labels: of the n objects, in the same order.
        options: thresholds and clean-up; SAM-2's rules where they leave a choice, or when omitted.
        image: the frame, to be kept in the result.

    Raises:
        ValueError: not as many labels as objects, or NaN in the prediction.
    """
    options = (MaskOptions() if options is None else options).completed()
    if len(labels) != len(prediction.logits):
        raise ValueError(f"frame {frame}: {len(labels)} labels for {len(prediction.logits)} objects")
    logits = prediction.logits.detach().float()
    scores = torch.as_tensor(prediction.object_score).detach().float().cpu()
    ious = torch.as_tensor(prediction.iou).float()
    for values, kind in ((logits, "mask"), (ious, "predicted IoU"), (scores, "score")):
        refuse_nan(values, kind, f"frame {frame}")
    present = (scores > options.object_score_threshold).tolist()
    codes = frame_codes(logits, present, size, options)
    kept = list(logits.cpu()) if options.keep_logits else [None] * len(labels)
    columns = zip(labels, codes, present, ious.tolist(), scores.double().sigmoid().tolist(), kept, strict=True)
    objects = [
        FrameObject(
            object_id=label.object_id,
            code=code,
            iou_score=iou,
            object_score=score,
            status="ok" if mask_area(code) else "empty_mask" if here else "no_target",
            phrase=label.phrase,
            request=label.request,
            seg_probability=label.seg_probability,
            logits=low,
            forced=label.forced,
            two_step=options.two_step_resize,
        )
        for label, code, here, iou, score, low in columns
    ]
    return FrameResult(frame, timestamp, size[0], size[1], objects, image, options)


def collect_frames(
    frames: Iterable[FrameResult],
    answers: Sequence[ParsedAnswer],
    video: FrameSource,
) -> list[SegmentationResult]:
    """Puts the frames of a whole video together, as `post_process` would have returned them.

    Args:
        frames: every frame of the video once, in any order.
        answers: what was said to each request; anything with `text`, `raw_text` and `spans`.
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
            entry.span = answer.spans[place] if place < len(answer.spans) else None
        statuses = [(entry.object_id, entry.status, entry.reason) for entry in mine]
        result = SegmentationResult(answer.text, answer.raw_text, mine, *answer_status(statuses))
        result.height, result.width, result.num_frames = video.height, video.width, len(video)
        result.fps, result.name, result.source, result.options = video.fps, video.name, video, options
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
    status, reason = object_status(present, drawn, (presence_logit(scores[best]), best), options, first.forced)
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
    )


def presence_logit(score: float) -> float:
    """The logit of an object score in [0, 1], for messages."""
    return math.log(score / (1 - score)) if 0 < score < 1 else math.copysign(math.inf, score - 0.5)


__all__ = ["FrameObject", "FrameResult", "ObjectLabel", "collect_frames", "frame_result", "presence_logit"]
