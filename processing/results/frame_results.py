"""Results one frame at a time, for videos that are too long, or not yet over, for one `SegmentationResult`.

In: what the tracker found on one frame. Out: `FrameResult` with one `FrameObject` per object; `collect_frames` puts
the frames of a whole video together again. Masks, scores and statuses are those of `build_results`, frame by frame
(METHOD section 6).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
import torch

from desa2va.processing.files import (
    Code,
    MaskOptions,
    decode_mask,
    empty_code,
    frame_codes,
    mask_area,
    mask_box,
    overlay_masks,
    read_dataclass,
    resize_logits,
)

from .exchange import (
    fiftyone_detections,
    label_studio_task,
    mask_rings,
    supervision_detections,
    yolo_lines,
)
from .result_checks import check_code_size, check_numbers, check_probabilities, check_status, refuse_nan
from .statuses import frame_status, is_refused, presence_probabilities


@dataclass(frozen=True)
class ObjectLabel:
    """What is known of an object before any frame is looked at.

    Attributes:
        object_id: its number, the same on every frame.
        phrase: what it is called, see `ObjectResult`.
        request: number of the request (sentence) it answers.
        seg_probability: probability the language model gave to its `[SEG]`, in [0, 1]; 1 without language.
        forced: the model preferred another token; see `ObjectResult`.
        target_score: of its request; see `SegmentationResult`. agreement: see `ObjectResult`.
    """

    object_id: int
    phrase: str | None = None
    request: int = 0
    seg_probability: float = 1.0
    forced: bool = False
    target_score: float | None = None
    agreement: float | None = None


@dataclass
class FrameObject:
    """One object on one frame.

    Attributes:
        object_id: see `ObjectLabel`, as `phrase`, `request`, `seg_probability`, `forced`, `target_score`, `agreement`.
        code: its mask as COCO run-length code at source size.
        iou_score: predicted IoU of the mask, in [0, 1]; of the mask before it was emptied where the object is absent.
        object_score: probability that the object is visible, in [0, 1]: the sigmoid of the logit that
            `object_score_threshold` is compared with.
        status: `"ok"`: a pixel; without any, `"no_target"`: absent by its object score, or its request is judged to
            have no target; or `"empty_mask"`: judged present.
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
    target_score: float | None = None
    agreement: float | None = None

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

    @property
    def xy(self) -> list[np.ndarray]:
        """Its outlines in source pixels: int32 `(n, 2)` corners for each ring, a hole walked the other way round.

        Nothing is lost: see `exchange.mask_rings`.
        """
        return mask_rings(self.mask)

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

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the source, pixels."""
        return self.height, self.width

    def plot(self, image: np.ndarray | None = None) -> np.ndarray:
        """The masks drawn on the frame, uint8 `(H_src, W_src, 3)`; the frame itself where no object has a pixel.

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

    def to_numpy(self) -> np.ndarray:
        """Bool `(O, H_src, W_src)`: the mask of each object, also `(0, H_src, W_src)`."""
        return np.stack([np.zeros(self.size, bool), *(entry.mask for entry in self.objects)])[1:]

    def to_supervision(self) -> Any:
        """`supervision.Detections` of the objects with a pixel; see `exchange.supervision_detections`.

        Raises:
            ImportError: supervision is not installed.
        """
        return supervision_detections(self.objects, self.size)

    def to_fiftyone(self) -> Any:
        """`fiftyone.Detections` of the objects with a pixel; see `exchange.fiftyone_detections`.

        Raises:
            ImportError: fiftyone is not installed.
        """
        return fiftyone_detections(self.objects, self.size)

    def to_yolo(self, names: Sequence[str] | None = None) -> list[str]:
        """Lines of YOLO's segmentation labels; see `exchange.yolo_lines`.

        Args:
            names: the classes; the sorted phrases of the objects when omitted.

        Raises:
            ValueError: a phrase that is not among `names`.
        """
        return yolo_lines(self.objects, self.size, names)

    def to_label_studio(
        self, image: str | None = None, from_name: str = "tag", to_name: str = "image"
    ) -> dict[str, Any]:
        """A task of Label Studio with the masks as brush labels; see `exchange.label_studio_task`.

        Args:
            image: where Label Studio finds the picture; `00000.png` and so on when omitted.
            from_name, to_name: of `<BrushLabels>` and `<Image>` in the labelling configuration.
        """
        image = f"{self.frame:05d}.png" if image is None else image
        return label_studio_task(self.objects, self.size, image, from_name, to_name)

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
            given = [value for value in (entry.target_score, entry.agreement) if value is not None]
            check_probabilities(where, entry.object_score, entry.seg_probability, *given)


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
    asked = torch.tensor([not is_refused(label.target_score, options) for label in labels], dtype=torch.bool)
    present = ((scores > options.object_score_threshold) & asked).tolist()
    codes = [empty_code(size)] * len(labels)
    chosen = asked.nonzero()[:, 0].tolist()  # the others claim no pixel either
    drawn = frame_codes(logits[chosen], [present[row] for row in chosen], size, options)
    for row, code in zip(chosen, drawn, strict=True):
        codes[row] = code
    kept = list(logits.cpu()) if options.keep_logits else [None] * len(labels)
    columns = zip(labels, codes, present, ious.tolist(), presence_probabilities(scores.tolist()), kept, strict=True)
    objects = [
        FrameObject(
            object_id=label.object_id,
            code=code,
            iou_score=iou,
            object_score=score,
            status=frame_status(mask_area(code) > 0, here),
            phrase=label.phrase,
            request=label.request,
            seg_probability=label.seg_probability,
            logits=low,
            forced=label.forced,
            two_step=options.two_step_resize,
            target_score=label.target_score,
            agreement=label.agreement,
        )
        for label, code, here, iou, score, low in columns
    ]
    return FrameResult(frame, timestamp, size[0], size[1], objects, image, options)


__all__ = ["FrameObject", "FrameResult", "ObjectLabel", "frame_result"]
