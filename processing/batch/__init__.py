"""Requests and plans to padded model inputs."""

from .batch_assembly import PLACEHOLDERS, BatchAssembler, BatchPlan
from .call_options import CallOptions, read_options
from .chat_encoding import ChatEncoder
from .chat_template import ChatTemplateMixin
from .frame_labels import FRAME_LABELS, default_labels
from .image_rows import sam_pixels
from .inference_plan import check_aspect_ratio, describe_visuals, plan_inference, prompts_of_visuals
from .rendered_chat import refuse_rendered, rendered_dialogues
from .sa2va_pixels import PIXEL_RULE
from .sa2va_prompts import region_cells, sa2va_sequence
from .training_batch import TrainingBatchMixin
from .training_plan import plan_training
from .user_request import DeSa2VABatch, VisualInfo, open_visuals, plan_requests, texts_of
from .verification import VERIFY_REQUEST, Check, answer_ids, ask_back

__all__ = [
    "BatchAssembler",
    "BatchPlan",
    "CallOptions",
    "ChatEncoder",
    "Check",
    "ChatTemplateMixin",
    "DeSa2VABatch",
    "FRAME_LABELS",
    "PIXEL_RULE",
    "PLACEHOLDERS",
    "TrainingBatchMixin",
    "VERIFY_REQUEST",
    "VisualInfo",
    "answer_ids",
    "ask_back",
    "check_aspect_ratio",
    "default_labels",
    "describe_visuals",
    "open_visuals",
    "plan_inference",
    "plan_requests",
    "plan_training",
    "prompts_of_visuals",
    "read_options",
    "refuse_rendered",
    "rendered_dialogues",
    "region_cells",
    "sa2va_sequence",
    "sam_pixels",
    "texts_of",
]
