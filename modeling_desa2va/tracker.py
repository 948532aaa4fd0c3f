"""From prompted frames to every frame of a video, with SAM-2's memory (METHOD section 6).

Enters: prompts on some frames, and a way to get encoded frames one after the other. Leaves: mask logits, predicted IoU
and object score of every object, frame by frame (`walk`) or as one block (`track`). `MemoryTracker` walks forwards
from the first prompted frame, then backwards to frame 0. Each frame is encoded at most once and dropped after use; the
memory is bounded, whatever the length of the video.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch

from .frame_encoding import FrameEncoder, close_stream, next_frame
from .memory import MemoryBank
from .outputs import ImageFeatures, MaskPrediction
from .segmenter import DeSa2VASegmenter
from .tracking import FrameSteps, Observation
from .tracks import TrackedFrame, Tracks, collect_tracks, join_frame, tracked_frame


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
    """State of one video while it is tracked.

    Attributes:
        prompts: frame -> what starts there. objects: all that start anywhere. encode, bank: as they are named.
        held: what the prompted frames showed, until the walk passes them. kept: features to be used later.
    """

    prompts: dict[int, list[FramePrompt]]
    objects: list[int]
    encode: FrameEncoder
    bank: MemoryBank
    held: dict[int, list[TrackedFrame]] = field(default_factory=dict)
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

    def walk(
        self,
        encode: FrameEncoder,
        prompts: dict[int, list[FramePrompt]],
        num_frames: int | None,
        num_objects: int,
        direction: str = "both",
        known: dict[int, ImageFeatures] | None = None,
    ) -> Iterator[TrackedFrame]:
        """Tracks O objects through T frames and yields every frame when it is done.

        Args:
            encode: gives frames lazily, each at most once.
            prompts: frame -> what starts which objects there. All prompted frames are decoded first, since SAM-2 lets
                frames look at prompted ones still to come.
            num_frames: T; `None` where nobody knows (a camera): then the walk goes forward until `encode` ends.
            num_objects: O.
            direction: `"forward"` from the first prompted frame, `"backward"` from the last one, or `"both"`: forward
                from the first, then backward from the one before it.
            known: features already at hand, one row each; used instead of encoding these frames again.

        Yields:
            Each frame of the walk once, in walking order, with all objects that are prompted anywhere; nothing without
            prompts. With `"both"`, SAM-2 visits the first prompted frame again on its way back where some objects are
            not prompted there, and the second visit counts: such a frame is yielded first on the way back.

        Raises:
            ValueError: an unknown direction, a prompt outside the video or for an unknown object, or an unknown length
                with another direction than `"forward"`.
        """
        _check_prompts(prompts, num_frames, num_objects, direction)
        return self._walk(encode, prompts, num_frames, direction, known or {})

    def track(
        self,
        encode: FrameEncoder,
        prompts: dict[int, list[FramePrompt]],
        num_frames: int,
        num_objects: int,
        direction: str = "both",
        known: dict[int, ImageFeatures] | None = None,
    ) -> Tracks:
        """`walk`, collected: `Tracks` of O objects on T frames.

        An object that is prompted nowhere is absent everywhere, as is every object on frames the walk does not reach.
        """
        frames = self.walk(encode, prompts, num_frames, num_objects, direction, known)
        return collect_tracks(frames, num_objects, num_frames, self.sam.prompt_encoder.mask_input_size)

    @torch.no_grad()
    def _walk(
        self,
        encode: FrameEncoder,
        prompts: dict[int, list[FramePrompt]],
        num_frames: int | None,
        direction: str,
        known: dict[int, ImageFeatures],
    ) -> Iterator[TrackedFrame]:
        if not prompts:
            return
        start = max(prompts) if direction == "backward" else min(prompts)
        returns = direction == "both" and start > 0
        bank = MemoryBank(self.sam, num_frames, start if returns else None, self.memory_dtype)
        objects = sorted({number for prompt in sum(prompts.values(), []) for number in prompt.objects})
        walk = _Walk(prompts, objects, encode, bank)
        self._start(walk, known)
        again = start if returns and walk.followed(start) else None
        if direction != "backward":
            frames = range(start, sys.maxsize if num_frames is None else num_frames)
            yield from self._follow(walk, frames, again=again, endless=num_frames is None)
        if direction == "backward" or again is not None:
            yield from self._follow(walk, range(start, -1, -1), reverse=True)
        elif returns:
            yield from self._follow(walk, range(start - 1, -1, -1), reverse=True)

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
                seen = self._seen(frame, prompt.objects, observation, prompt.answer)
                walk.held.setdefault(frame, []).append(seen)
            if walk.followed(frame):
                walk.kept[frame] = features
        close_stream(stream)
        walk.kept.update({frame: features for frame, features in known.items() if frame not in walk.prompts})

    def _prompt(self, features: ImageFeatures, rows: torch.Tensor, prompt: FramePrompt) -> Observation:
        if prompt.masks is not None:
            return self.steps.prompt_masks(features, rows, prompt.masks)
        if prompt.language is not None:
            return self.steps.prompt_language(features, rows, prompt.language)
        return self.steps.prompt_points(features, rows, prompt.points, prompt.boxes)

    def _follow(
        self, walk: _Walk, frames: range, reverse: bool = False, again: int | None = None, endless: bool = False
    ) -> Iterator[TrackedFrame]:
        """Walks `frames` in order and yields each but frame `again`, which is visited (and yielded) once more later.

        `endless`: the frames end where the encoder does.
        """
        kept = set(walk.kept)
        stream = walk.encode(frame for frame in frames if frame not in kept and walk.followed(frame))
        try:
            for frame in frames:
                walk.bank.forget(frame)
                parts = walk.held.get(frame, []) if frame == again else walk.held.pop(frame, [])
                objects = walk.followed(frame)
                if objects:
                    features = walk.kept[frame] if frame in kept else next_frame(stream, frame, endless)
                    if features is None:
                        return
                    parts = [*parts, self._follow_one(walk, features, frame, objects, reverse)]
                    if frame != again:
                        walk.kept.pop(frame, None)
                if frame != again:
                    yield join_frame(parts)
        finally:
            close_stream(stream)

    def _follow_one(
        self, walk: _Walk, features: ImageFeatures, frame: int, objects: list[int], reverse: bool
    ) -> TrackedFrame:
        rows = torch.zeros(len(objects), dtype=torch.long, device=features.low.device)
        observation = self.steps.follow(features, rows, walk.bank, frame, objects, reverse)
        self.steps.remember(features, rows, observation, walk.bank, frame, objects)
        return self._seen(frame, objects, observation)

    def _seen(
        self, frame: int, objects: list[int], observation: Observation, answer: MaskPrediction | None = None
    ) -> TrackedFrame:
        """What was seen of some objects, or the `answer` given in its place."""
        if answer is None:
            answer = MaskPrediction(observation.logits, observation.prediction.iou, observation.object_score)
        return tracked_frame(frame, objects, answer, self.sam.prompt_encoder.mask_input_size)


def _check_prompts(
    prompts: dict[int, list[FramePrompt]], num_frames: int | None, num_objects: int, direction: str
) -> None:
    if direction not in ("forward", "backward", "both"):
        raise ValueError(f"direction={direction!r} is unknown; choose one of forward, backward, both")
    if num_frames is None and direction != "forward":
        raise ValueError(f"direction={direction!r} needs the video's length; without one only 'forward' is possible")
    for frame, on_frame in prompts.items():
        if frame < 0 or (num_frames is not None and frame >= num_frames):
            frames = "0 and up" if num_frames is None else f"0..{num_frames - 1}"
            raise ValueError(f"a prompt on frame {frame}, but the video has frames {frames}")
        numbers = [number for prompt in on_frame for number in prompt.objects]
        if len(set(numbers)) != len(numbers) or not all(0 <= number < num_objects for number in numbers):
            raise ValueError(f"frame {frame} prompts objects {numbers}; each of 0..{num_objects - 1} at most once")


__all__ = ["FramePrompt", "MemoryTracker"]
