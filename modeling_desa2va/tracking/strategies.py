"""Three ways to carry the language masks of key frames to a whole video (METHOD section 6).

Enters: a `TrackRequest`, i.e. what the language pass found on the key frames, and access to the other frames.
Leaves: `TrackedFrame`s one by one (`walk_objects`), or `Tracks` (`track_objects`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Set
from dataclasses import dataclass, field

import torch

from desa2va.modeling_desa2va.outputs import ClipPrediction, ImageFeatures, MaskPrediction
from desa2va.modeling_desa2va.segmenter import DeSa2VASegmenter

from .frame_encoding import FrameEncoder, close_stream, next_frame
from .frame_steps import FrameSteps
from .memory import resize_logits
from .tracker import FramePrompt, MemoryTracker
from .tracks import TrackedFrame, Tracks, absent_frame, collect_tracks, tracked_frame

TRACK_STRATEGIES = ("consistent", "memory", "per_frame")
NUM_PROMPTED = 5  # first frames that Sa2VA's Algorithm 1 prompts


@dataclass
class TrackRequest:
    """O objects of one video, as the language pass leaves them.

    Attributes:
        num_frames: T; `None` for a live source, whose end nobody knows: tracking then goes forward only, and frames
            before the first one that shows an object are reported absent.
        encode: gives the features of further frames.
        key_frames: the K frames the language model saw, increasing. key_masks: its masks there, shapes (O, K, ...).
        key_features: their SAM-2 encodings (K rows), reused; encoded again when omitted. further: encodings of other
            frames at hand, one row each.
        prompts: language tokens (O, K', C) on a frame, for `"memory"`; a tensor where all frames have the same.
            num_prompted: how many first frames they prompt there.
        withdrawn: objects that are followed no more; may grow while the request is walked. What is yielded of them
            means nothing, and their memories are freed.
        decode: decodes the language prompts of all O objects on the one frame given, by features and number, for
            `"per_frame"`.
        conditioning: (O, K) bool, which key masks may condition the tracker of `"consistent"`; all when omitted.
    """

    num_frames: int | None
    encode: FrameEncoder
    key_frames: list[int]
    key_masks: ClipPrediction
    key_features: ImageFeatures | None = None
    prompts: torch.Tensor | Callable[[int], torch.Tensor] | None = None
    num_prompted: int = NUM_PROMPTED
    decode: Callable[[ImageFeatures, int], MaskPrediction] | None = None
    further: dict[int, ImageFeatures] = field(default_factory=dict)
    withdrawn: Set[int] = frozenset()
    conditioning: torch.Tensor | None = None

    @property
    def num_objects(self) -> int:
        """O."""
        return len(self.key_masks.logits)

    def prompts_on(self, frame: int) -> torch.Tensor:
        """Language tokens (O, K', C) on one frame."""
        return self.prompts(frame) if callable(self.prompts) else self.prompts

    def known(self) -> dict[int, ImageFeatures]:
        """Features at hand: frame -> its one row."""
        if self.key_features is None:
            return dict(self.further)
        rows = {frame: self.key_features.select(slice(row, row + 1)) for row, frame in enumerate(self.key_frames)}
        return self.further | rows

    def answer(self, column: int, objects: list[int]) -> MaskPrediction:
        """The language pass on key frame number `column`, for some objects."""
        masks = self.key_masks
        return MaskPrediction(
            masks.logits[objects, column], masks.iou[objects, column], masks.object_score[objects, column]
        )


def walk_objects(
    segmenter: DeSa2VASegmenter,
    request: TrackRequest,
    strategy: str = "consistent",
    mask_threshold: float = 0.0,
    object_score_threshold: float = 0.0,
) -> Generator[TrackedFrame, None, None]:
    """Carries the language pass on the key frames to every frame of the video, frame by frame.

    Args:
        segmenter: in eval mode.
        request: the video and what the language pass found.
        strategy: `"consistent"`: the language masks of key frames on which an object is present condition the pristine
            SAM-2 tracker, and are kept there. `"memory"`: Sa2VA's Algorithm 1. `"per_frame"`: the language prompt is
            decoded on every frame, without memory.
        mask_threshold: logit above which a pixel of a language mask belongs to the object.
        object_score_threshold: logit above which the language pass sees an object as present. Both decide which masks
            condition the tracker of `"consistent"`; what is yielded has met no threshold.

    Yields:
        Every frame of the video once, with all O objects. `"consistent"` begins at the first key frame that shows an
        object, goes to the end, and then backwards from there to frame 0; the others go forward from frame 0.

    Raises:
        ValueError: an unknown strategy, or a request that lacks what the strategy needs.
    """
    if strategy not in TRACK_STRATEGIES:
        raise ValueError(f"strategy {strategy!r} is unknown; choose one of {', '.join(TRACK_STRATEGIES)}")
    if strategy == "memory":
        return _walk_memory(segmenter, request)
    if strategy == "per_frame":
        return _walk_per_frame(segmenter, request)
    return _walk_consistent(segmenter, request, mask_threshold, object_score_threshold)


def track_objects(
    segmenter: DeSa2VASegmenter,
    request: TrackRequest,
    strategy: str = "consistent",
    mask_threshold: float = 0.0,
    object_score_threshold: float = 0.0,
) -> Tracks:
    """`walk_objects`, collected: `Tracks` of the O objects on all T frames, whose number must be known."""
    frames = walk_objects(segmenter, request, strategy, mask_threshold, object_score_threshold)
    size = segmenter.sam.prompt_encoder.mask_input_size
    return collect_tracks(frames, request.num_objects, request.num_frames, size)


@torch.no_grad()
def _walk_consistent(
    segmenter: DeSa2VASegmenter, request: TrackRequest, mask_threshold: float, object_score_threshold: float
) -> Generator[TrackedFrame, None, None]:
    prompts = _present_masks(segmenter, request, mask_threshold, object_score_threshold)
    live = request.num_frames is None
    # Nothing walks there: frames of a video without objects, and what a camera showed before the first object.
    if not prompts or live:
        known_end = len(request.key_frames) if live else request.num_frames
        for frame in range(min(prompts, default=known_end)):
            yield _with_absent(segmenter, request, frame)
    frames = MemoryTracker(segmenter).walk(
        request.encode,
        prompts,
        request.num_frames,
        request.num_objects,
        direction="forward" if live else "both",
        known=request.known(),
        withdrawn=request.withdrawn,
    )
    for seen in frames:
        yield _with_denied(request, _with_absent(segmenter, request, seen.frame, seen), object_score_threshold)


def _present_masks(
    segmenter: DeSa2VASegmenter, request: TrackRequest, mask_threshold: float, object_score_threshold: float
) -> dict[int, list[FramePrompt]]:
    """The language masks of the objects that are present, by key frame."""
    prompts: dict[int, list[FramePrompt]] = {}
    for column, frame in enumerate(request.key_frames):
        logits = request.key_masks.logits[:, column].float()
        inside = resize_logits(logits, segmenter.sam.image_size) > mask_threshold
        present = (request.key_masks.object_score[:, column] > object_score_threshold) & inside.flatten(1).any(1)
        if request.conditioning is not None:
            present &= request.conditioning[:, column].to(present.device)
        objects = present.nonzero()[:, 0].tolist()
        if objects:
            answer = request.answer(column, objects)
            prompts[frame] = [FramePrompt(objects, masks=inside[objects], answer=answer)]
    return prompts


def _with_absent(
    segmenter: DeSa2VASegmenter, request: TrackRequest, frame: int, seen: TrackedFrame | None = None
) -> TrackedFrame:
    """All O objects on a frame: those `seen`, and those no key frame shows, as the language pass sees them there."""
    if seen is not None and len(seen.objects) == request.num_objects:
        return seen
    size, objects = segmenter.sam.prompt_encoder.mask_input_size, list(range(request.num_objects))
    if frame in request.key_frames:
        result = tracked_frame(frame, objects, request.answer(request.key_frames.index(frame), objects), size)
    else:
        result = absent_frame(frame, request.num_objects, size, request.key_masks.object_score.device)
    if seen is not None:
        for name in ("logits", "iou", "object_score"):
            result[name][seen.objects] = seen[name].to(result[name])
    return result


def _with_denied(request: TrackRequest, seen: TrackedFrame, object_score_threshold: float) -> TrackedFrame:
    """A key frame with the scores of the language pass for the objects that it saw absent there.

    It read the words and looked at this very frame; the tracker only carried a mask there. Their logits stay.
    """
    if seen.frame not in request.key_frames:
        return seen
    said = request.key_masks.object_score[:, request.key_frames.index(seen.frame)].to(seen.object_score)
    seen.object_score = torch.where(said > object_score_threshold, seen.object_score, said)
    return seen


def _walk_memory(segmenter: DeSa2VASegmenter, request: TrackRequest) -> Generator[TrackedFrame, None, None]:
    """Sa2VA's Algorithm 1: prompt the first frames with the same embedding (with `temporal="motion"`: each with its
    own), then propagate forwards.

    As in its published code, masks are not emptied by the object score (pointers are), prompted masks enter the memory
    as they are, memories are stored in bf16, and one decoder serves prompted and propagated frames alike. Its last
    step, from logits to masks, is `DeSa2VAModel.mask_options`.
    """
    if request.prompts is None:
        raise ValueError("strategy 'memory' needs TrackRequest.prompts, the objects' language tokens (O, K', C)")
    steps = FrameSteps(
        segmenter,
        decoder=segmenter.visual_decoder,
        multimask=segmenter.multimask_output,
        gate_masks=False,
        binarize_prompts=False,
    )
    objects = list(range(request.num_objects))
    count = min(request.num_prompted, request.num_frames or sys.maxsize) if objects else 0
    prompts = {frame: [FramePrompt(objects, language=request.prompts_on(frame))] for frame in range(count)}
    tracker = MemoryTracker(segmenter, steps, memory_dtype=torch.bfloat16)
    return tracker.walk(
        request.encode,
        prompts,
        request.num_frames,
        len(objects),
        direction="forward",
        known=request.known(),
        withdrawn=request.withdrawn,
    )


def _walk_per_frame(segmenter: DeSa2VASegmenter, request: TrackRequest) -> Generator[TrackedFrame, None, None]:
    if request.decode is None:
        raise ValueError("strategy 'per_frame' needs TrackRequest.decode, which decodes the objects on one frame")
    return _decode_each(segmenter, request)


@torch.no_grad()
def _decode_each(segmenter: DeSa2VASegmenter, request: TrackRequest) -> Generator[TrackedFrame, None, None]:
    objects = list(range(request.num_objects))
    if not objects:
        return
    size, columns = segmenter.sam.prompt_encoder.mask_input_size, {}
    columns.update((frame, column) for column, frame in enumerate(request.key_frames))
    frames = range(sys.maxsize if request.num_frames is None else request.num_frames)
    further = dict(request.further)
    stream = request.encode(frame for frame in frames if frame not in columns and frame not in request.further)
    try:
        for frame in frames:
            if frame in columns:
                answer = request.answer(columns[frame], objects)
            else:
                features = further.pop(frame, None)
                if features is None:
                    features = next_frame(stream, frame, endless=request.num_frames is None)
                if features is None:
                    return
                answer = request.decode(features, frame)
            yield tracked_frame(frame, objects, answer, size)
    finally:
        close_stream(stream)


__all__ = ["TRACK_STRATEGIES", "TrackRequest", "track_objects", "walk_objects"]
