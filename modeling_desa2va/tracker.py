"""From prompted frames to every frame of a video, with SAM-2's memory (METHOD section 6).

Enters: prompts on some frames, and a way to get encoded frames one after the other. Leaves: mask logits, predicted IoU
and object score of every object on every frame. `MemoryTracker` walks forwards from the first prompted frame, then
backwards to frame 0. Each frame is encoded at most once and dropped after use; the memory is bounded, whatever the
length of the video.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import torch
from transformers.utils import ModelOutput

from .memory import ABSENT_LOGIT, MemoryBank, resize_logits
from .outputs import ImageFeatures, MaskPrediction
from .segmenter import DeSa2VASegmenter
from .tracking import FrameSteps, Observation

ABSENT_SCORE = -10.0

# Yields the encodings of the frames asked for, one frame at a time and in that order; lazily.
FrameEncoder = Callable[[Sequence[int]], Iterator[ImageFeatures]]


@dataclass
class Tracks(ModelOutput):
    """O objects on the T frames of their video; on the CPU.

    Attributes:
        logits: (O, T, h, w) fp16 mask logits; -1024 throughout where the object is absent.
        iou: (O, T) fp32 predicted IoU in [0, 1]. object_score: (O, T) fp32 logit of presence.
    """

    logits: torch.Tensor | None = None
    iou: torch.Tensor | None = None
    object_score: torch.Tensor | None = None


@dataclass
class FramePrompt:
    """What starts n objects on one frame: exactly one kind of prompt.

    Attributes:
        objects: their numbers. masks: (n, H, W) in {0, 1}, any size. language: (n, K, C) prompt tokens.
        points: (n, k, 2) SAM pixels and (n, k) labels. boxes: (n, 4) xyxy SAM pixels; may accompany points.
        answer: n pairs; what is reported for them on this frame instead of SAM-2's own (`tokens` unused).
    """

    objects: list[int]
    masks: torch.Tensor | None = None
    language: torch.Tensor | None = None
    points: tuple[torch.Tensor, torch.Tensor] | None = None
    boxes: torch.Tensor | None = None
    answer: MaskPrediction | None = None

    def __post_init__(self) -> None:
        """Raises `ValueError` unless there is exactly one kind of prompt."""
        clicks = self.points is not None or self.boxes is not None
        kinds = (self.masks is not None) + (self.language is not None) + clicks
        if kinds != 1 or not self.objects:
            raise ValueError(
                f"a FramePrompt needs objects and one kind of prompt, got {self.objects} and {kinds} kinds"
            )


@dataclass
class _Walk:
    """State of one video while it is tracked."""

    prompts: dict[int, list[FramePrompt]]
    objects: list[int]
    encode: FrameEncoder
    bank: MemoryBank
    tracks: Tracks
    kept: dict[int, ImageFeatures] = field(default_factory=dict)

    def followed(self, frame: int) -> list[int]:
        """Objects that nothing prompts on `frame`."""
        prompted = {number for prompt in self.prompts.get(frame, []) for number in prompt.objects}
        return [number for number in self.objects if number not in prompted]


class MemoryTracker:
    """SAM-2's tracker with objects batched; equal to transformers' inference session, object by object.

    Args:
        segmenter: in eval mode.
        steps: how single frames are prompted, followed and remembered; SAM-2's rules when omitted.
        memory_dtype: dtype in which memories are stored; as computed when omitted.
    """

    def __init__(
        self, segmenter: DeSa2VASegmenter, steps: FrameSteps | None = None, memory_dtype: torch.dtype | None = None
    ) -> None:
        if segmenter.training:
            raise ValueError("tracking needs eval mode: call .eval() on the model first")
        self.sam = segmenter.sam
        self.steps = FrameSteps(segmenter) if steps is None else steps
        self.memory_dtype = memory_dtype

    @torch.no_grad()
    def track(
        self,
        encode: FrameEncoder,
        prompts: dict[int, list[FramePrompt]],
        num_frames: int,
        num_objects: int,
        direction: str = "both",
        known: dict[int, ImageFeatures] | None = None,
    ) -> Tracks:
        """Tracks O objects through T frames.

        Args:
            encode: gives frames lazily, each at most once.
            prompts: frame -> what starts which objects there. An object that is prompted nowhere is absent everywhere.
            num_frames: T.
            num_objects: O.
            direction: `"forward"` from the first prompted frame, `"backward"` from the last one, or `"both"`: forward,
                then backward from the first.
            known: features already at hand, one row each; used instead of encoding these frames again.

        Returns:
            `Tracks`. Objects that start on a later frame are followed from the first frame any object starts on.

        Raises:
            ValueError: an unknown direction, or a prompt outside the video or for an unknown object.
        """
        _check_prompts(prompts, num_frames, num_objects, direction)
        tracks = empty_tracks(num_objects, num_frames, self.sam.prompt_encoder.mask_input_size)
        if not prompts:
            return tracks
        start = max(prompts) if direction == "backward" else min(prompts)
        returns = direction == "both" and start > 0
        bank = MemoryBank(self.sam, num_frames, start if returns else None, self.memory_dtype)
        objects = sorted({number for prompt in sum(prompts.values(), []) for number in prompt.objects})
        walk = _Walk(prompts, objects, encode, bank, tracks)
        self._start(walk, known or {})
        if direction != "backward":
            self._follow(walk, range(start, num_frames), keep=start if returns else None)
        if direction == "backward" or returns:
            self._follow(walk, range(start, -1, -1), reverse=True)
        return tracks

    def _start(self, walk: _Walk, known: dict[int, ImageFeatures]) -> None:
        """Prompts every prompted frame; keeps the features of those on which other objects are to be followed."""
        frames = sorted(walk.prompts)
        stream = walk.encode([frame for frame in frames if frame not in known])
        for frame in frames:
            features = known[frame] if frame in known else next_frame(stream, frame)
            for prompt in walk.prompts[frame]:
                rows = torch.zeros(len(prompt.objects), dtype=torch.long, device=features.low.device)
                observation = self._prompt(features, rows, prompt)
                self.steps.remember(features, rows, observation, walk.bank, frame, prompt.objects)
                _record(walk.tracks, frame, prompt.objects, observation, prompt.answer)
            if walk.followed(frame):
                walk.kept[frame] = features
        walk.kept.update({frame: features for frame, features in known.items() if frame not in walk.prompts})

    def _prompt(self, features: ImageFeatures, rows: torch.Tensor, prompt: FramePrompt) -> Observation:
        if prompt.masks is not None:
            return self.steps.prompt_masks(features, rows, prompt.masks)
        if prompt.language is not None:
            return self.steps.prompt_language(features, rows, prompt.language)
        return self.steps.prompt_points(features, rows, prompt.points, prompt.boxes)

    def _follow(self, walk: _Walk, frames: range, reverse: bool = False, keep: int | None = None) -> None:
        """Walks `frames` in order; drops kept features once used, but those of frame `keep`."""
        needed = [frame for frame in frames if walk.followed(frame)]
        stream = walk.encode([frame for frame in needed if frame not in walk.kept])
        for frame in frames:
            walk.bank.forget(frame)
            objects = walk.followed(frame)
            if not objects:
                continue
            features = walk.kept[frame] if frame in walk.kept else next_frame(stream, frame)
            if frame != keep:
                walk.kept.pop(frame, None)
            rows = torch.zeros(len(objects), dtype=torch.long, device=features.low.device)
            observation = self.steps.follow(features, rows, walk.bank, frame, objects, reverse)
            self.steps.remember(features, rows, observation, walk.bank, frame, objects)
            _record(walk.tracks, frame, objects, observation)


def encode_lazily(
    segmenter: DeSa2VASegmenter, read: Callable[[Sequence[int]], Iterable[torch.Tensor]], batch_size: int = 1
) -> FrameEncoder:
    """A `FrameEncoder` over a reader of SAM-2 pixels.

    Args:
        segmenter: encodes on its own device.
        read: yields the pixels (3, S, S) of the frames asked for, in order and lazily.
        batch_size: frames per call of the image encoder; so many are held at a time.
    """

    def encode(frames: Sequence[int]) -> Iterator[ImageFeatures]:
        if not frames:
            return
        pixels = iter(read(frames))
        while pending := list(islice(pixels, batch_size)):
            features = segmenter.encode_frames(torch.stack(pending).to(segmenter.sam.device))
            for row in range(len(pending)):
                yield features.select(slice(row, row + 1))

    return encode


def next_frame(stream: Iterator[ImageFeatures], frame: int) -> ImageFeatures:
    """The next features of `stream`, those of `frame`; raises `ValueError` where the stream has ended already."""
    features = next(stream, None)
    if features is None:
        raise ValueError(f"the video ended before frame {frame}: the frame encoder yielded too few frames")
    return features


def empty_tracks(num_objects: int, num_frames: int, mask_size: tuple[int, int]) -> Tracks:
    """Tracks (O, T, *mask_size) on which every object is absent everywhere."""
    return Tracks(
        logits=torch.full((num_objects, num_frames, *mask_size), ABSENT_LOGIT, dtype=torch.float16),
        iou=torch.zeros(num_objects, num_frames),
        object_score=torch.full((num_objects, num_frames), ABSENT_SCORE),
    )


def _record(
    tracks: Tracks,
    frame: int,
    objects: list[int],
    observation: Observation,
    answer: MaskPrediction | None = None,
) -> None:
    """Writes what was seen, or the `answer` given in its place."""
    if answer is None:
        answer = MaskPrediction(observation.logits, observation.prediction.iou, observation.object_score)
    write_tracks(tracks, frame, objects, answer.logits, answer)


def write_tracks(
    tracks: Tracks, frame: int, objects: list[int], logits: torch.Tensor, prediction: MaskPrediction
) -> None:
    """Writes mask logits (n, any, any) and the scores of `prediction` (n pairs) for `objects` on `frame`."""
    low = resize_logits(logits.float(), tracks.logits.shape[-2:], antialias=True)
    tracks.logits[objects, frame] = low.clamp(ABSENT_LOGIT, -ABSENT_LOGIT).to(tracks.logits)
    tracks.iou[objects, frame] = prediction.iou.float().cpu()
    tracks.object_score[objects, frame] = prediction.object_score.float().cpu()


def _check_prompts(prompts: dict[int, list[FramePrompt]], num_frames: int, num_objects: int, direction: str) -> None:
    if direction not in ("forward", "backward", "both"):
        raise ValueError(f"direction={direction!r} is unknown; choose one of forward, backward, both")
    for frame, on_frame in prompts.items():
        if not 0 <= frame < num_frames:
            raise ValueError(f"a prompt on frame {frame}, but the video has frames 0..{num_frames - 1}")
        numbers = [number for prompt in on_frame for number in prompt.objects]
        if len(set(numbers)) != len(numbers) or not all(0 <= number < num_objects for number in numbers):
            raise ValueError(f"frame {frame} prompts objects {numbers}; each of 0..{num_objects - 1} at most once")


__all__ = [
    "FrameEncoder",
    "FramePrompt",
    "MemoryTracker",
    "Tracks",
    "empty_tracks",
    "encode_lazily",
    "next_frame",
    "write_tracks",
]
