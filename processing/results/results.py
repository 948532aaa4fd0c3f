"""The answer to one request: a text, its objects with masks at source resolution, and a status with a reason.

In: masks as codes and scores (`build_results`), or a file. Out: masks, drawings, files, and what other tools read.
METHOD section 6: every object and frame carries mask, predicted IoU and object score.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
import torch

from desa2va.processing.files import (
    Code,
    MaskOptions,
    decode_mask,
    mask_area,
    mask_box,
    read_dataclass,
    read_json,
    resize_logits,
    result_to_coco,
    save_index_pngs,
    save_overlay,
    write_json,
)

from .exchange import class_names, mask_rings, write_yolo
from .explanation import BranchLogits, Explanation, explain_objects
from .frame_results import FrameObject, FrameResult
from .result_checks import check_result
from .statuses import frame_status, is_refused, presence_logit, told_of_answer

_UNSAVED = ("logits", "two_step", "branches")  # fields of an object


@dataclass
class ObjectResult:
    """One object of an answer.

    Attributes:
        object_id: number of the object within its answer, from 0; the same on every frame.
        status: `"ok"`: a pixel on some frame; `"no_target"`: none, and its object score says absent on every frame;
            `"empty_mask"`: none, though it is judged present somewhere.
        reason: why the status is not `"ok"`, and `FORCED` where `forced`; empty otherwise.
        phrase: what it is called: by the answer, where that marks a phrase, else by what was asked for ("the red
            circle"; "region 1" where it was marked without words); `None` where nothing was named.
        span: `(start, end)` of the phrase in the text of the answer; `None` where the answer marks none.
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
        agreement: probability in [0, 1] that the model, asked back about its outlined mask, agrees; the highest of the
            key frames. `None` unless asked (`generate(..., verify=True)`), and where there was no mask to ask about.
        two_step: how logits are resized, see `MaskOptions`; never saved.
        branches: what the decoders said on the key frames, if asked for (`return_branches=True`); never saved.
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
    branches: BranchLogits | None = field(default=None, repr=False, compare=False)
    agreement: float | None = None

    def mask(self, t: int = 0) -> np.ndarray:
        """Bool `(H_src, W_src)` of frame `t`.

        Raises:
            IndexError: there is no such frame.
        """
        if not -len(self.codes) <= t < len(self.codes):
            raise IndexError(f"frame {t} does not exist; object {self.object_id} has {len(self.codes)} frames")
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

    @property
    def xy(self) -> list[list[np.ndarray]]:
        """For each frame the outlines of the mask in source pixels; see `FrameObject.xy`."""
        return [mask_rings(decode_mask(code)) for code in self.codes]

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
        reason: why the status is not `"ok"`, which objects were forced, and where the text says another number than
            there are masks; empty otherwise.
        height: of the source, pixels.
        width: of the source, pixels.
        num_frames: 1 for a picture, 0 for text alone.
        fps: frames per second, `None` where unknown.
        name: of the picture or video.
        source: its frames, for overlays; never saved.
        options: complete; the thresholds and rules by which logits became masks.
        target_score: probability in [0, 1] that the request has a target, 0 where nothing was marked; below
            `options.target_threshold` the status is `"no_target"`. `None` of a model that was not calibrated.
        request: what was asked, as it was given, or the words of the task; `""` in files of before it was kept.
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
    target_score: float | None = None
    request: str = ""

    @property
    def count(self) -> int:
        """How many objects have a mask: the members of a set, whatever number the text says; see `reason`."""
        return sum(entry.status == "ok" for entry in self.objects)

    @property
    def forced(self) -> bool:
        """Whether any object is there only because `task="segment"` forced it; see `ObjectResult`."""
        return any(entry.forced for entry in self.objects)

    def number_from(self, first: int) -> None:
        """Numbers the objects from `first` on, in `reason` too, where several answers share one count."""
        for number, entry in enumerate(self.objects, first):
            entry.object_id = number
        if self.objects:
            self.status, self.reason = told_of_answer(self.text, self.objects)

    def frame(self, t: int = 0) -> FrameResult:
        """Frame `t` by itself, as `model.stream` would have handed it over; without picture and logits.

        Raises:
            IndexError: there is no such frame.
        """
        if not 0 <= t < self.num_frames:
            raise IndexError(f"frame {t} does not exist; {self.name or 'the result'} has {self.num_frames} frames")
        threshold = math.inf if is_refused(self.target_score, self.options) else self.options.object_score_threshold
        objects = [
            FrameObject(
                object_id=entry.object_id,
                code=entry.codes[t],
                iou_score=entry.iou_scores[t],
                object_score=entry.object_scores[t],
                status=frame_status(mask_area(entry.codes[t]) > 0, presence_logit(entry.object_scores[t]) > threshold),
                phrase=entry.phrase,
                seg_probability=entry.seg_probability,
                forced=entry.forced,
                two_step=entry.two_step,
                target_score=self.target_score,
                agreement=entry.agreement,
            )
            for entry in self.objects
        ]
        seconds = t / (self.fps or 1.0) if self.source is None else self.source.timestamps[t]
        return FrameResult(t, seconds, self.height, self.width, objects, options=self.options)

    def frames(self) -> Iterator[FrameResult]:
        """Every frame by itself, in order."""
        return (self.frame(t) for t in range(self.num_frames))

    def plot(self, t: int = 0, image: np.ndarray | None = None) -> np.ndarray:
        """The masks drawn on frame `t`, uint8 `(H_src, W_src, 3)`; the frame itself where no object has a pixel.

        Args:
            t: the frame.
            image: its picture; read from the source when omitted.

        Raises:
            IndexError: there is no such frame.
            ValueError: there is no picture to draw on (a result that was read from a file).
        """
        frame = self.frame(t)
        if image is None and self.source is not None:
            (image,) = self.source.read([t])
        return frame.plot(image)

    def explain(self) -> Explanation:
        """Both branches, their fusion, gates, disagreement and scores of every object, as data and as a picture.

        Raises:
            ValueError: the branches were not kept (`generate(..., return_branches=True)` keeps them), or the model has
                one only.
        """
        size = (self.height, self.width)
        return Explanation(explain_objects(self.objects, size, self.options.mask_threshold), self.source)

    def to_numpy(self, t: int = 0) -> np.ndarray:
        """Bool `(O, H_src, W_src)`: the mask of each object on frame `t`, also `(0, H_src, W_src)`."""
        return self.frame(t).to_numpy()

    def to_supervision(self, t: int = 0) -> Any:
        """`FrameResult.to_supervision` of frame `t`."""
        return self.frame(t).to_supervision()

    def to_fiftyone(self, t: int = 0) -> Any:
        """`FrameResult.to_fiftyone` of frame `t`."""
        return self.frame(t).to_fiftyone()

    def to_yolo(self, t: int = 0) -> list[str]:
        """`FrameResult.to_yolo` of frame `t`; the classes are the sorted phrases of the answer."""
        return self.frame(t).to_yolo()

    def to_label_studio(self, images: Sequence[str] | None = None, **names: str) -> list[dict[str, Any]]:
        """One task per frame; see `FrameResult.to_label_studio`.

        Args:
            images: where Label Studio finds the picture of each frame; `00000.png`, ... when omitted.
            names: `from_name`, `to_name`.

        Raises:
            ValueError: not as many pictures as frames.
        """
        places = [None] * self.num_frames if images is None else images
        if len(places) != self.num_frames:
            raise ValueError(f"{len(places)} images for {self.num_frames} frames; give one for each frame")
        return [frame.to_label_studio(image, **names) for frame, image in zip(self.frames(), places, strict=True)]

    def save_yolo(self, folder: str | os.PathLike, overwrite: bool = False) -> list[str]:
        """Writes `labels/00000.txt`, ... for every frame and `data.yaml` with the names; see `exchange.write_yolo`."""
        return write_yolo(self.frames(), class_names(self.objects), folder, overwrite)

    def to_dict(self) -> dict[str, Any]:
        """Everything but `source` and `logits`, in plain types; `from_dict` restores it."""
        data = {item.name: getattr(self, item.name) for item in fields(self) if item.name not in ("source", "objects")}
        data["options"] = asdict(self.options)
        data["objects"] = []
        for entry in self.objects:
            kept = [item.name for item in fields(entry) if item.name not in _UNSAVED]
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
            objects.append(read_dataclass(ObjectResult, plain, f"objects[{place}]", skip=_UNSAVED))
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
        """Writes one palette PNG per frame, `00000.png`, ...: pixel value `object_id + 1`, 0 for background.

        Of more than 255 objects the PNGs are grey ones of 16 bits, with the same values.
        """
        return save_index_pngs(self, folder, overwrite)

    def save_overlay(self, path: str | os.PathLike, overwrite: bool = False) -> None:
        """Draws the masks on the frames: a picture file, or an mp4 or GIF of a video."""
        save_overlay(self, path, overwrite)


__all__ = ["ObjectResult", "SegmentationResult"]
