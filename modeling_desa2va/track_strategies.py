"""Three ways to carry the language masks of key frames to a whole video (METHOD section 6).

Enters: a `TrackRequest`, i.e. what the language pass found on the key frames, and access to the other frames.
Leaves: `Tracks`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from .memory import resize_logits
from .outputs import ImageFeatures, MaskPrediction
from .segmenter import DeSa2VASegmenter
from .tracker import FrameEncoder, FramePrompt, MemoryTracker, Tracks, empty_tracks, next_frame, write_tracks
from .tracking import ClipPrediction, FrameSteps, gate

TRACK_STRATEGIES = ("consistent", "memory", "per_frame")


@dataclass
class TrackRequest:
    """O objects of one video, as the language pass leaves them.

    Attributes:
        num_frames: T. encode: gives the features of further frames.
        key_frames: the K frames the language model saw, increasing. key_masks: its masks there, shapes (O, K, ...).
        key_features: their SAM-2 encodings (K rows), reused; encoded again when omitted.
        prompts: language tokens (O, K', C) on a frame, for `"memory"`; a tensor where all frames have the same.
            num_prompted: how many first frames they prompt there.
        decode: decodes the language prompts of all O objects on the one frame given, by features and number, for
            `"per_frame"`.
    """

    num_frames: int
    encode: FrameEncoder
    key_frames: list[int]
    key_masks: ClipPrediction
    key_features: ImageFeatures | None = None
    prompts: torch.Tensor | Callable[[int], torch.Tensor] | None = None
    num_prompted: int = 5
    decode: Callable[[ImageFeatures, int], MaskPrediction] | None = None

    @property
    def num_objects(self) -> int:
        """O."""
        return len(self.key_masks.logits)

    def prompts_on(self, frame: int) -> torch.Tensor:
        """Language tokens (O, K', C) on one frame."""
        return self.prompts(frame) if callable(self.prompts) else self.prompts

    def known(self) -> dict[int, ImageFeatures]:
        """Features at hand: key frame -> its one row."""
        if self.key_features is None:
            return {}
        return {frame: self.key_features.select(slice(row, row + 1)) for row, frame in enumerate(self.key_frames)}

    def answer(self, column: int, objects: list[int]) -> MaskPrediction:
        """The language pass on key frame number `column`, for some objects."""
        masks = self.key_masks
        return MaskPrediction(
            masks.logits[objects, column], masks.iou[objects, column], masks.object_score[objects, column]
        )


def track_objects(
    segmenter: DeSa2VASegmenter,
    request: TrackRequest,
    strategy: str = "consistent",
    mask_threshold: float = 0.0,
    object_score_threshold: float = 0.0,
) -> Tracks:
    """Carries the language pass on the key frames to every frame of the video.

    Args:
        segmenter: in eval mode.
        request: the video and what the language pass found.
        strategy: `"consistent"`: the language masks of key frames on which an object is present condition the pristine
            SAM-2 tracker, and are kept there. `"memory"`: Sa2VA's Algorithm 1. `"per_frame"`: the language prompt is
            decoded on every frame, without memory.
        mask_threshold: logit above which a pixel of a language mask belongs to the object.
        object_score_threshold: logit above which the language pass sees an object as present.

    Returns:
        `Tracks` of the O objects.

    Raises:
        ValueError: an unknown strategy, or a request that lacks what the strategy needs.
    """
    if strategy not in TRACK_STRATEGIES:
        raise ValueError(f"strategy {strategy!r} is unknown; choose one of {', '.join(TRACK_STRATEGIES)}")
    if strategy == "memory":
        return _track_memory(segmenter, request)
    if strategy == "per_frame":
        return _track_per_frame(segmenter, request, object_score_threshold)
    return _track_consistent(segmenter, request, mask_threshold, object_score_threshold)


def _track_consistent(
    segmenter: DeSa2VASegmenter, request: TrackRequest, mask_threshold: float, object_score_threshold: float
) -> Tracks:
    prompts: dict[int, list[FramePrompt]] = {}
    for column, frame in enumerate(request.key_frames):
        logits = request.key_masks.logits[:, column].float()
        inside = resize_logits(logits, segmenter.sam.image_size) > mask_threshold
        present = (request.key_masks.object_score[:, column] > object_score_threshold) & inside.flatten(1).any(1)
        objects = present.nonzero()[:, 0].tolist()
        if objects:
            answer = request.answer(column, objects)
            prompts[frame] = [FramePrompt(objects, masks=inside[objects], answer=answer)]
    tracker = MemoryTracker(segmenter)
    tracks = tracker.track(request.encode, prompts, request.num_frames, request.num_objects, known=request.known())
    started = {number for (prompt,) in prompts.values() for number in prompt.objects}
    for column, frame in enumerate(request.key_frames):
        for number in set(range(request.num_objects)) - started:
            tracks.object_score[number, frame] = request.key_masks.object_score[number, column].float().cpu()
    return tracks


def _track_memory(segmenter: DeSa2VASegmenter, request: TrackRequest) -> Tracks:
    """Sa2VA's Algorithm 1: prompt the first frames with the same embedding (with `temporal="motion"`: each with its
    own), then propagate forwards.

    As in its published code, masks are not emptied by the object score (pointers are), prompted masks enter the memory
    as they are, memories are stored in bf16, and one decoder serves prompted and propagated frames alike.
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
    count = min(request.num_prompted, request.num_frames) if objects else 0
    prompts = {frame: [FramePrompt(objects, language=request.prompts_on(frame))] for frame in range(count)}
    tracker = MemoryTracker(segmenter, steps, memory_dtype=torch.bfloat16)
    return tracker.track(
        request.encode, prompts, request.num_frames, len(objects), direction="forward", known=request.known()
    )


@torch.no_grad()
def _track_per_frame(segmenter: DeSa2VASegmenter, request: TrackRequest, object_score_threshold: float) -> Tracks:
    if request.decode is None:
        raise ValueError("strategy 'per_frame' needs TrackRequest.decode, which decodes the objects on one frame")
    objects = list(range(request.num_objects))
    tracks = empty_tracks(len(objects), request.num_frames, segmenter.sam.prompt_encoder.mask_input_size)
    if not objects:
        return tracks
    columns = {frame: column for column, frame in enumerate(request.key_frames)}
    stream = request.encode([frame for frame in range(request.num_frames) if frame not in columns])
    for frame in range(request.num_frames):
        known = frame in columns
        answer = request.answer(columns[frame], objects) if known else request.decode(next_frame(stream, frame), frame)
        write_tracks(tracks, frame, objects, gate(answer.logits, answer.object_score, object_score_threshold), answer)
    return tracks


__all__ = ["TRACK_STRATEGIES", "TrackRequest", "track_objects"]
