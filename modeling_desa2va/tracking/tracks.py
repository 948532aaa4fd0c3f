"""What tracking yields: objects on one frame, or on all frames of a video.

Enters: mask predictions of some objects on a frame. Leaves: `TrackedFrame`s at one resolution and in fp32, and
`Tracks`, which collect them (METHOD section 6).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from transformers.utils import ModelOutput

from desa2va.modeling_desa2va.outputs import DeSa2VAGenerateOutput, MaskPrediction

from .memory import ABSENT_LOGIT, resize_logits

ABSENT_SCORE = -10.0


@dataclass
class Tracks(ModelOutput):
    """O objects on the T frames of their video; on the CPU.

    Attributes:
        logits: (O, T, h, w) fp32 mask logits, also where the object scores as absent; -1024 throughout where nothing
            looked for it.
        iou: (O, T) fp32 predicted IoU in [0, 1]. object_score: (O, T) fp32 logit of presence.
    """

    logits: torch.Tensor | None = None
    iou: torch.Tensor | None = None
    object_score: torch.Tensor | None = None

    def put_into(self, output: DeSa2VAGenerateOutput, objects: list[int]) -> None:
        """Writes the O tracks into a batch's output, where they are number `objects`."""
        for row, place in enumerate(objects):
            output.track_logits[place] = self.logits[row]
            output.track_iou[place] = self.iou[row]
            output.track_object_score[place] = self.object_score[row]


@dataclass
class TrackedFrame(ModelOutput):
    """n objects on one frame; on the tracker's device.

    Attributes:
        frame: its number. objects: the n objects' numbers, rising.
        logits: (n, h, w) fp32 mask logits in [-1024, 1024], also where the object scores as absent; -1024 throughout
            where nothing looked for it.
        iou: (n,) fp32 predicted IoU in [0, 1]. object_score: (n,) fp32 logit of presence.
    """

    frame: int | None = None
    objects: list[int] | None = None
    logits: torch.Tensor | None = None
    iou: torch.Tensor | None = None
    object_score: torch.Tensor | None = None


def tracked_frame(
    frame: int, objects: list[int], prediction: MaskPrediction, mask_size: tuple[int, int]
) -> TrackedFrame:
    """The prediction (n pairs; logits of any size) for `objects`, which must be rising, as a `TrackedFrame`."""
    low = resize_logits(prediction.logits.float(), mask_size, antialias=True).clamp(ABSENT_LOGIT, -ABSENT_LOGIT)
    return TrackedFrame(frame, objects, low, prediction.iou.float(), prediction.object_score.float())


def absent_frame(frame: int, num_objects: int, mask_size: tuple[int, int], device: torch.device) -> TrackedFrame:
    """A frame on which nothing looked for any of O objects: absent."""
    return TrackedFrame(
        frame,
        list(range(num_objects)),
        torch.full((num_objects, *mask_size), ABSENT_LOGIT, device=device),
        torch.zeros(num_objects, device=device),
        torch.full((num_objects,), ABSENT_SCORE, device=device),
    )


def join_frame(parts: list[TrackedFrame]) -> TrackedFrame:
    """Parts of one frame, each with objects of its own, as one; objects rising."""
    objects = [number for part in parts for number in part.objects]
    if len(parts) == 1 and objects == sorted(objects):
        return parts[0]
    order = torch.tensor(objects).argsort().to(parts[0].logits.device)
    rows = [torch.cat([part[name] for part in parts])[order] for name in ("logits", "iou", "object_score")]
    return TrackedFrame(parts[0].frame, sorted(objects), *rows)


def empty_tracks(num_objects: int, num_frames: int, mask_size: tuple[int, int]) -> Tracks:
    """Tracks (O, T, *mask_size) on which every object is absent everywhere."""
    return Tracks(
        logits=torch.full((num_objects, num_frames, *mask_size), ABSENT_LOGIT),
        iou=torch.zeros(num_objects, num_frames),
        object_score=torch.full((num_objects, num_frames), ABSENT_SCORE),
    )


def collect_tracks(
    frames: Iterable[TrackedFrame], num_objects: int, num_frames: int, mask_size: tuple[int, int]
) -> Tracks:
    """Frames in any order as `Tracks` of O objects on T frames; absent where no frame says otherwise."""
    tracks = empty_tracks(num_objects, num_frames, mask_size)
    for seen in frames:
        tracks.logits[seen.objects, seen.frame] = seen.logits.to(tracks.logits)
        tracks.iou[seen.objects, seen.frame] = seen.iou.cpu()
        tracks.object_score[seen.objects, seen.frame] = seen.object_score.cpu()
    return tracks


__all__ = [
    "ABSENT_SCORE",
    "TrackedFrame",
    "Tracks",
    "absent_frame",
    "collect_tracks",
    "empty_tracks",
    "join_frame",
    "tracked_frame",
]
