"""From prompted frames to every frame of a video, with SAM-2's memory (METHOD section 6).

Enters: prompts on some frames, and a way to get encoded frames one after the other. Leaves: mask logits, predicted IoU
and object score of every object, frame by frame (`walk`) or as one block (`track`). `MemoryTracker` walks forwards
from the first prompted frame, then backwards to frame 0. Each frame is encoded at most once and dropped after use; the
memory is bounded, whatever the length of the video.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable, Iterator, Set
from dataclasses import dataclass, field

import torch

from desa2va.modeling_desa2va.devices import execution_device
from desa2va.modeling_desa2va.outputs import ImageFeatures, MaskPrediction
from desa2va.modeling_desa2va.segmenter import DeSa2VASegmenter

from .encoder_batches import join_features
from .frame_encoding import FrameEncoder, close_stream, next_frame
from .frame_steps import FrameSteps, Observation
from .memory import MemoryBank
from .tracks import TrackedFrame, Tracks, absent_frame, collect_tracks, join_frame, tracked_frame

# Prompted frames that are held and decoded together; as many as Sa2VA's Algorithm 1 prompts.
FRAMES_AT_ONCE = 5
# Object-frame pairs that one call takes from several prompts; a single prompt is never split.
PAIRS_AT_ONCE = 32


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

    def tensors(self) -> list[torch.Tensor | None]:
        """What is given: masks, language, coordinates and labels of points, boxes."""
        return [self.masks, self.language, *(self.points or (None, None)), self.boxes]


@dataclass
class _Walk:
    """State of one video while it is tracked.

    Attributes:
        prompts: frame -> what starts there. objects: all that start anywhere. encode, bank: as they are named.
        held: what the prompted frames showed, until the walk passes them. kept: features to be used later.
        last: whether it is walked backwards, and number, of the last frame on which objects are followed: no frame
            looks back at it. `None` where none is followed at all.
        withdrawn: objects that are followed no more; may grow. They still count for which frames are encoded, since
            the encoder has been asked for some in advance.
    """

    prompts: dict[int, list[FramePrompt]]
    objects: list[int]
    encode: FrameEncoder
    bank: MemoryBank
    held: dict[int, list[TrackedFrame]] = field(default_factory=dict)
    kept: dict[int, ImageFeatures] = field(default_factory=dict)
    last: tuple[bool, int] | None = None
    withdrawn: Set[int] = frozenset()

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
        withdrawn: Set[int] = frozenset(),
    ) -> Generator[TrackedFrame, None, None]:
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
            withdrawn: see `TrackRequest`; frames lack these objects, or show them as they were prompted.

        Yields:
            Each frame of the walk once, in walking order, with all objects that are prompted anywhere; nothing without
            prompts. With `"both"`, SAM-2 visits the first prompted frame again on its way back where some objects are
            not prompted there, and the second visit counts: such a frame is yielded first on the way back.

        Raises:
            ValueError: an unknown direction, a prompt outside the video or for an unknown object, or an unknown length
                with another direction than `"forward"`.
        """
        _check_prompts(prompts, num_frames, num_objects, direction)
        return self._walk(encode, prompts, num_frames, direction, known or {}, withdrawn)

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
        withdrawn: Set[int],
    ) -> Generator[TrackedFrame, None, None]:
        if not prompts:
            return
        start = max(prompts) if direction == "backward" else min(prompts)
        returns = direction == "both" and start > 0
        bank = MemoryBank(self.sam, num_frames, start if returns else None, self.memory_dtype)
        objects = sorted({number for prompt in sum(prompts.values(), []) for number in prompt.objects})
        walk = _Walk(prompts, objects, encode, bank, withdrawn=withdrawn)
        again = start if returns and walk.followed(start) else None
        forward = range(start, sys.maxsize if num_frames is None else num_frames) if direction != "backward" else ()
        first_back = start if direction == "backward" or again is not None else start - 1
        backward = range(first_back, -1, -1) if direction == "backward" or returns else ()
        order = ((reverse, frame) for reverse in (True, False) for frame in reversed((forward, backward)[reverse]))
        walk.last = next((visit for visit in order if walk.followed(visit[1])), None)
        self._start(walk, known)
        if forward:
            yield from self._follow(walk, forward, again=again, endless=num_frames is None)
        if backward:
            yield from self._follow(walk, backward, reverse=True)

    def _start(self, walk: _Walk, known: dict[int, ImageFeatures]) -> None:
        """Prompts every prompted frame; keeps the features of those on which other objects are to be followed."""
        frames = sorted(walk.prompts)
        stream = walk.encode([frame for frame in frames if frame not in known])
        for first in range(0, len(frames), FRAMES_AT_ONCE):
            chunk = frames[first : first + FRAMES_AT_ONCE]
            features = {frame: known[frame] if frame in known else next_frame(stream, frame) for frame in chunk}
            self._start_frames(walk, features)
            walk.kept.update({frame: features[frame] for frame in chunk if walk.followed(frame)})
        close_stream(stream)
        walk.kept.update({frame: features for frame, features in known.items() if frame not in walk.prompts})

    def _start_frames(self, walk: _Walk, features: dict[int, ImageFeatures]) -> None:
        """Prompts some frames, as many at once as may be, and remembers them in their order."""
        started: dict[int, list[tuple[FramePrompt, torch.Tensor | None, torch.Tensor]]] = {}
        for call in _calls(walk.prompts, features):
            frames = {frame: row for row, frame in enumerate(dict.fromkeys(frame for frame, _ in call))}
            shown = join_features([features[frame] for frame in frames])
            pairs = [frames[frame] for frame, prompt in call for _ in prompt.objects]
            rows = torch.tensor(pairs, device=shown.low.device)
            observation = None
            if walk.last is not None or any(prompt.answer is None for _, prompt in call):
                observation = self._prompt(shown, rows, _joined([prompt for _, prompt in call]))
            memory = None if walk.last is None else self.steps.memorize(shown, rows, observation)
            end = 0
            for frame, prompt in call:
                part = slice(end, end + len(prompt.objects))
                end = part.stop
                seen = self._seen(frame, prompt.objects, observation, prompt.answer, part)
                walk.held.setdefault(frame, []).append(seen)
                if memory is not None:
                    started.setdefault(frame, []).append((prompt, memory[part], observation.pointer[part]))
        for frame in sorted(started):
            for prompt, memory, pointer in started[frame]:
                walk.bank.add(frame, prompt.objects, memory, pointer, prompted=True)

    def _prompt(self, features: ImageFeatures, rows: torch.Tensor, prompt: FramePrompt) -> Observation:
        if prompt.masks is not None:
            return self.steps.prompt_masks(features, rows, prompt.masks)
        if prompt.language is not None:
            return self.steps.prompt_language(features, rows, prompt.language)
        return self.steps.prompt_points(features, rows, prompt.points, prompt.boxes)

    def _follow(
        self, walk: _Walk, frames: range, reverse: bool = False, again: int | None = None, endless: bool = False
    ) -> Generator[TrackedFrame, None, None]:
        """Walks `frames` in order and yields each but frame `again`, which is visited (and yielded) once more later.

        `endless`: the frames end where the encoder does.
        """
        kept = set(walk.kept)
        stream = walk.encode(frame for frame in frames if frame not in kept and walk.followed(frame))
        try:
            for frame in frames:
                walk.bank.forget(frame)
                if walk.withdrawn:
                    walk.bank.drop(walk.withdrawn)
                parts = walk.held.get(frame, []) if frame == again else walk.held.pop(frame, [])
                objects = walk.followed(frame)
                if objects:
                    features = walk.kept[frame] if frame in kept else next_frame(stream, frame, endless)
                    if features is None:
                        return
                    if going := [number for number in objects if number not in walk.withdrawn]:
                        parts = [*parts, self._follow_one(walk, features, frame, going, reverse)]
                    if frame != again:
                        walk.kept.pop(frame, None)
                if frame != again:
                    yield join_frame(parts) if parts else self._nothing(frame)
        finally:
            close_stream(stream)

    def _follow_one(
        self, walk: _Walk, features: ImageFeatures, frame: int, objects: list[int], reverse: bool
    ) -> TrackedFrame:
        rows = torch.zeros(len(objects), dtype=torch.long, device=features.low.device)
        observation = self.steps.follow(features, rows, walk.bank, frame, objects, reverse)
        if (reverse, frame) != walk.last:
            self.steps.remember(features, rows, observation, walk.bank, frame, objects)
        return self._seen(frame, objects, observation)

    def _nothing(self, frame: int) -> TrackedFrame:
        """A frame on which no object is left."""
        return absent_frame(frame, 0, self.sam.prompt_encoder.mask_input_size, execution_device(self.sam))

    def _seen(
        self,
        frame: int,
        objects: list[int],
        observation: Observation | None,
        answer: MaskPrediction | None = None,
        part: slice = slice(None),
    ) -> TrackedFrame:
        """What was seen of `objects`, the rows `part` of the observation, or the `answer` given in its place."""
        if answer is None:
            values = observation.reported, observation.prediction.iou, observation.object_score
            answer = MaskPrediction(*(value[part] for value in values))
        return tracked_frame(frame, objects, answer, self.sam.prompt_encoder.mask_input_size)


def _calls(prompts: dict[int, list[FramePrompt]], frames: Iterable[int]) -> Iterator[list[tuple[int, FramePrompt]]]:
    """(frame, prompt) pairs that are decoded in one call: of one kind and shape, at most `PAIRS_AT_ONCE` objects."""
    alike: dict[tuple, list[tuple[int, FramePrompt]]] = {}
    for frame in frames:
        for prompt in prompts[frame]:
            kind = tuple(given if given is None else (given.shape[1:], given.dtype) for given in prompt.tensors())
            alike.setdefault(kind, []).append((frame, prompt))
    for members in alike.values():
        call: list[tuple[int, FramePrompt]] = []
        for frame, prompt in members:
            if call and sum(len(given.objects) for _, given in call) + len(prompt.objects) > PAIRS_AT_ONCE:
                yield call
                call = []
            call.append((frame, prompt))
        yield call


def _joined(prompts: list[FramePrompt]) -> FramePrompt:
    """Prompts of one kind and shape as one; an object is in it once for every frame."""
    if len(prompts) == 1:
        return prompts[0]
    columns = zip(*(prompt.tensors() for prompt in prompts), strict=True)
    masks, language, coordinates, labels, boxes = (None if c[0] is None else torch.cat(c) for c in columns)
    points = None if coordinates is None else (coordinates, labels)
    return FramePrompt(sum((prompt.objects for prompt in prompts), []), masks, language, points, boxes)


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
