"""From a request to masks on every frame, at once or frame by frame."""

from .key_frame_choice import choose_key_frames
from .predict_forward import PredictForwardMixin
from .refinement import refine_result, refine_small_objects
from .streaming import StreamingMixin
from .target_scores import target_scores

__all__ = [
    "PredictForwardMixin",
    "StreamingMixin",
    "choose_key_frames",
    "refine_result",
    "refine_small_objects",
    "target_scores",
]
