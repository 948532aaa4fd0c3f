"""Model outputs to typed results: a text, its objects with masks at source resolution, and a status with a reason.

In: the outputs of `DeSa2VAModel.generate` and the batch they belong to. Out: one `SegmentationResult` per sequence.
METHOD section 6: every object and frame carries mask, predicted IoU and object score, and an answer without a mask
says why; a blank mask is never handed over without a word.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
import torch

from desa2va.processing.files import (
    Code,
    MaskOptions,
    decode_mask,
    frame_codes,
    logits_to_codes,
    mask_area,
    mask_box,
    mask_iou,
    read_dataclass,
    read_json,
    resize_logits,
    result_to_coco,
    save_index_pngs,
    save_overlay,
    write_json,
)

from .answer_text import AnswerParser, ParsedAnswer
from .result_checks import check_result, refuse_nan

FORCED = "the model would have marked nothing; task='segment' forced its [SEG] (seg_probability: how likely it was)"
_NO_VISUAL = "the request is about no picture or video; nothing can be marked"


@dataclass
class ObjectResult:
    """One object of an answer.

    Attributes:
        object_id: number of the object within its answer, from 0; the same on every frame.
        status: `"ok"`: a pixel on some frame; `"no_target"`: none, and its object score says absent on every frame;
            `"empty_mask"`: none, though it is judged present somewhere.
        reason: why the status is not `"ok"`, and `FORCED` where `forced`; empty otherwise.
        phrase: what the answer calls it, where marked.
        span: `(start, end)` of the phrase in the text of the answer.
        seg_probability: probability the language model gave to its `[SEG]`, in [0, 1].
        codes: for each frame the mask as COCO run-length code at source resolution.
        iou_scores: for each frame the predicted IoU of the mask, in [0, 1]; where the object is absent, of the mask
            before it was emptied.
        object_scores: for each frame the probability that the object is visible, in [0, 1]: the sigmoid of the logit
            that `object_score_threshold` is compared with.
        key_frames: frames of the three lists below; empty unless the outputs hold both branches.
        text_codes: masks of the text branch.
        visual_codes: masks of the visual branch.
        disagreement: 1 - IoU of the two branches, in [0, 1]; high values mean uncertainty.
        logits: low-resolution logits float32 `(T, h, w)` if asked for, also where the object is absent; never saved.
        forced: the model preferred another token to the `[SEG]`, which `task="segment"` put there all the same. The
            mask is what the model's state shows, the status what became of it.
        two_step: how logits are resized, see `MaskOptions`; never saved.
    """

    object_id: int
    status: str
    reason: str
    phrase: str | None
    span: tuple[int, int] | None
    seg_probability: float
    codes: list[Code]
    iou_scores: list[float]
    object_scores: list[float]
    key_frames: list[int] = field(default_factory=list)
    text_codes: list[Code] = field(default_factory=list)
    visual_codes: list[Code] = field(default_factory=list)
    disagreement: list[float] = field(default_factory=list)
    logits: torch.Tensor | None = field(default=None, repr=False)
    forced: bool = False
    two_step: bool = field(default=False, repr=False, compare=False)

    def mask(self, t: int = 0) -> np.ndarray:
        """Bool `(H_src, W_src)` of frame `t`."""
        return decode_mask(self.codes[t])

    @property
    def masks(self) -> np.ndarray:
        """Bool `(T, H_src, W_src)`; for long videos use `mask(t)`, one frame at a time."""
        return np.stack([decode_mask(code) for code in self.codes])

    @property
    def areas(self) -> list[int]:
        """Pixels of the mask on each frame."""
        return [mask_area(code) for code in self.codes]

    @property
    def boxes(self) -> list[tuple[int, int, int, int] | None]:
        """For each frame `(x0, y0, x1, y1)` in source pixels around the mask, or `None` where it is empty."""
        return [mask_box(code) for code in self.codes]

    def source_logits(self, t: int = 0) -> np.ndarray:
        """Mask logits float32 `(H_src, W_src)` of frame `t`, before any clean-up, also where the object is absent.

        Raises:
            ValueError: the result was built without `keep_logits=True`.
        """
        if self.logits is None:
            raise ValueError("logits were not kept; call post_process(..., keep_logits=True)")
        size = (self.codes[t]["size"][0], self.codes[t]["size"][1])
        return resize_logits(self.logits[t : t + 1], size, self.two_step)[0].numpy()

    def probabilities(self, t: int = 0) -> np.ndarray:
        """Float32 `(H_src, W_src)` in [0, 1] of frame `t`: the sigmoid of `source_logits`."""
        return torch.from_numpy(self.source_logits(t)).sigmoid().numpy()


@dataclass
class SegmentationResult:
    """The answer to one request.

    Attributes:
        text: the answer without control tokens.
        raw_text: the answer with `[SEG]`, `<p>` and `</p>`.
        objects: its objects, in order of their `[SEG]`.
        status: `"ok"` if any object has a mask, `"no_visual"` for a request without picture or video, `"no_seg_token"`
            without objects, else that of the objects.
        reason: why the status is not `"ok"`, and which objects were forced; empty otherwise.
        height: of the source, pixels.
        width: of the source, pixels.
        num_frames: 1 for a picture, 0 for text alone.
        fps: frames per second, `None` where unknown.
        name: of the picture or video.
        source: its frames, for overlays; never saved.
        options: complete; the thresholds and rules by which logits became masks.
    """

    text: str
    raw_text: str
    objects: list[ObjectResult]
    status: str
    reason: str
    height: int = 0
    width: int = 0
    num_frames: int = 0
    fps: float | None = None
    name: str = ""
    source: Any = field(default=None, repr=False)
    options: MaskOptions = field(default_factory=lambda: MaskOptions().completed())

    @property
    def forced(self) -> bool:
        """Whether any object is there only because `task="segment"` forced it; see `ObjectResult`."""
        return any(entry.forced for entry in self.objects)

    def to_dict(self) -> dict[str, Any]:
        """Everything but `source` and `logits`, in plain types; `from_dict` restores it."""
        data = {item.name: getattr(self, item.name) for item in fields(self) if item.name not in ("source", "objects")}
        data["options"] = asdict(self.options)
        data["objects"] = []
        for entry in self.objects:
            kept = [item.name for item in fields(entry) if item.name not in ("logits", "two_step")]
            plain = {name: getattr(entry, name) for name in kept}
            data["objects"].append({**plain, "boxes": entry.boxes})
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SegmentationResult:
        """Inverse of `to_dict`; checks everything, since files come from anywhere.

        Raises:
            ValueError: anything `to_dict` does not write; the field is named.
        """
        if not isinstance(data, dict) or not isinstance(data.get("objects"), list):
            raise ValueError("a result must be an object with a list of objects")
        objects = []
        for place, entry in enumerate(data["objects"]):
            plain = {name: entry[name] for name in entry if name != "boxes"} if isinstance(entry, dict) else entry
            objects.append(read_dataclass(ObjectResult, plain, f"objects[{place}]", skip=("logits", "two_step")))
        rest = {name: value for name, value in data.items() if name != "objects"}
        result = read_dataclass(cls, rest, "a result", skip=("source",), objects=objects)
        result.options = result.options.completed()
        check_result(result)
        return result

    def to_json(self, path: str | os.PathLike, overwrite: bool = False) -> None:
        """Writes the whole result as JSON; `from_json` reads it back without loss."""
        write_json(path, self.to_dict(), overwrite)

    @classmethod
    def from_json(cls, path: str | os.PathLike) -> SegmentationResult:
        """Reads a result written by `to_json`.

        Raises:
            FileNotFoundError: no such file. ValueError: it holds no result, or a broken one; file and field are named.
        """
        data = read_json(path)
        try:
            return cls.from_dict(data)
        except ValueError as error:
            raise ValueError(f"{os.fspath(path)} holds no result: {error}") from error

    def to_coco(self, path: str | os.PathLike | None = None, overwrite: bool = False) -> dict[str, Any]:
        """COCO dictionary, one image per frame (`export.result_to_coco`); also written to `path` if given."""
        data = result_to_coco(self)
        if path is not None:
            write_json(path, data, overwrite)
        return data

    def save_png(self, folder: str | os.PathLike, overwrite: bool = False) -> list[str]:
        """Writes one palette PNG per frame, `00000.png`, ...: pixel value `object_id + 1`, 0 for background."""
        return save_index_pngs(self, folder, overwrite)

    def save_overlay(self, path: str | os.PathLike, overwrite: bool = False) -> None:
        """Draws the masks on the frames: a picture file, or an mp4 of a video."""
        save_overlay(self, path, overwrite)


def build_results(outputs: Any, inputs: Any, parser: AnswerParser, options: MaskOptions) -> list[SegmentationResult]:
    """Results of a batch.

    Args:
        outputs: `DeSa2VAGenerateOutput` (`sequences`, `object_sequence`, `seg_probability`, `track_logits`,
            `track_iou`, `track_object_score`, and where present `seg_forced`, at the key frames `text_logits` and
            `visual_logits`, and `mask_options`, which say what `options` leave open).
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
    sequences = getattr(outputs, "sequences", None)
    answers = [ParsedAnswer() for _ in visual_of]
    if sequences is not None:
        if len(sequences) != len(visual_of):
            raise ValueError(f"outputs hold {len(sequences)} sequences, inputs {len(visual_of)}")
        answers = [parser.parse([int(index) for index in row]) for row in sequences]
    results = [
        _empty_result(answer, inputs["visuals"][visual] if visual >= 0 else None)
        for answer, visual in zip(answers, visual_of, strict=True)
    ]
    owners = torch.as_tensor(outputs.object_sequence).tolist()
    shown = [inputs["visuals"][visual_of[sequence]] for sequence in owners]
    codes = _masks_of_visuals(outputs, shown, options)
    for index, sequence in enumerate(owners):
        entry = _object_result(outputs, index, shown[index], codes[index], options)
        result, answer = results[sequence], answers[sequence]
        entry.object_id = len(result.objects)
        entry.phrase = answer.phrase(entry.object_id)
        entry.span = answer.spans[entry.object_id] if entry.phrase is not None else None
        result.objects.append(entry)
    for result, visual in zip(results, visual_of, strict=True):
        result.options = options
        if visual < 0:
            continue
        statuses = [(entry.object_id, entry.status, entry.reason) for entry in result.objects]
        result.status, result.reason = answer_status(statuses, sequences is not None)
    return results


def _empty_result(answer: ParsedAnswer, info: Any) -> SegmentationResult:
    result = SegmentationResult(answer.text, answer.raw_text, [], "no_visual", _NO_VISUAL)
    if info is not None:
        result.height, result.width, result.num_frames = info.height, info.width, info.num_frames
        result.fps, result.source, result.name = info.fps, info.source, info.source.name
    return result


def answer_status(objects: list[tuple[int, str, str]], in_words: bool = True) -> tuple[str, str]:
    """Status and reason of an answer.

    Args:
        objects: number, status and reason of each of its objects.
        in_words: false where prompts alone were given.
    """
    if not objects and not in_words:
        return "no_seg_token", "no point, box or mask marks an object here"
    if not objects:
        return "no_seg_token", "the answer holds no [SEG]; the model marked no object"
    statuses = [status for _, status, _ in objects]
    status = next((one for one in ("ok", "empty_mask") if one in statuses), "no_target")
    told = [(number, reason) for number, of_object, reason in objects if status != "ok" or of_object == "ok"]
    return status, "; ".join(f"object {number}: {reason}" for number, reason in told if reason)


def object_status(
    present: bool, drawn: bool, best: tuple[float, int], options: MaskOptions, forced: bool = False
) -> tuple[str, str]:
    """Status and reason of one object.

    Args:
        present: its object score is above the threshold on some frame.
        drawn: its mask has a pixel on some frame.
        best: its highest object score, a logit, and the frame that has it.
        options: complete; whose thresholds the reason names.
        forced: see `ObjectResult`.
    """
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


def _masks_of_visuals(outputs: Any, shown: list[Any], options: MaskOptions) -> list[list[dict[str, Any]]]:
    """COCO codes of every object of the batch on every frame of the visual it is on.

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
    for objects in together.values():
        info = shown[objects[0]]
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
    outputs: Any, index: int, info: Any, codes: list[dict[str, Any]], options: MaskOptions
) -> ObjectResult:
    """Object `index` of the batch; its number and phrase are filled in later."""
    scores = torch.as_tensor(outputs.track_object_score[index]).float().cpu()
    best = int(scores.argmax())
    present, drawn = bool(scores[best] > options.object_score_threshold), any(mask_area(code) for code in codes)
    given = getattr(outputs, "seg_forced", None)
    forced = given is not None and bool(given[index])
    status, reason = object_status(present, drawn, (float(scores[best]), best), options, forced)
    entry = ObjectResult(
        object_id=0,
        status=status,
        reason=reason,
        phrase=None,
        span=None,
        seg_probability=float(outputs.seg_probability[index]),
        codes=codes,
        iou_scores=torch.as_tensor(outputs.track_iou[index]).float().tolist(),
        object_scores=scores.double().sigmoid().tolist(),
        logits=outputs.track_logits[index].detach().float().cpu() if options.keep_logits else None,
        forced=forced,
        two_step=options.two_step_resize,
    )
    text, visual = getattr(outputs, "text_logits", None), getattr(outputs, "visual_logits", None)
    if text is not None and visual is not None:
        entry.key_frames = list(info.key_frames)
        size = (info.height, info.width)
        rules = size, options.mask_threshold, options.two_step_resize
        entry.text_codes = logits_to_codes(text[index], *rules)
        entry.visual_codes = logits_to_codes(visual[index], *rules)
        pairs = zip(entry.text_codes, entry.visual_codes, strict=True)
        entry.disagreement = [1 - mask_iou(one, other) for one, other in pairs]
    return entry


__all__ = [
    "FORCED",
    "ObjectResult",
    "SegmentationResult",
    "answer_status",
    "build_results",
    "object_status",
]
