"""SAM-2's memory over a video: one frame's steps, the walk over all frames, strategies, image encodings."""

from .encoder_batches import BatchedEncoder, join_features, pairs_at_once
from .frame_encoding import (
    FrameEncoder,
    Visual,
    batch_visuals,
    close_stream,
    encode_lazily,
    frame_reader,
    next_frame,
    numbered,
)
from .frame_steps import FrameSteps, Observation, gate, propagate_training
from .kept_encodings import KeptEncodings
from .memory import (
    ABSENT_LOGIT,
    PROMPT_BIAS,
    PROMPT_SCALE,
    FrameMemory,
    MemoryBank,
    binary_masks,
    condition_on_memory,
    resize_logits,
)
from .strategies import NUM_PROMPTED, TRACK_STRATEGIES, TrackRequest, walk_objects
from .tracker import FramePrompt, MemoryTracker
from .tracks import TrackedFrame, absent_frame, collect_tracks, tracked_frame

__all__ = [
    "ABSENT_LOGIT",
    "BatchedEncoder",
    "FrameEncoder",
    "FrameMemory",
    "FramePrompt",
    "FrameSteps",
    "KeptEncodings",
    "MemoryBank",
    "MemoryTracker",
    "NUM_PROMPTED",
    "Observation",
    "PROMPT_BIAS",
    "PROMPT_SCALE",
    "TRACK_STRATEGIES",
    "TrackRequest",
    "TrackedFrame",
    "Visual",
    "absent_frame",
    "batch_visuals",
    "binary_masks",
    "close_stream",
    "collect_tracks",
    "condition_on_memory",
    "encode_lazily",
    "frame_reader",
    "gate",
    "join_features",
    "next_frame",
    "numbered",
    "pairs_at_once",
    "propagate_training",
    "resize_logits",
    "tracked_frame",
    "walk_objects",
]
