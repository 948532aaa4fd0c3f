"""Requests and plans to padded model inputs."""

from .batch_assembly import PLACEHOLDERS, BatchAssembler, BatchPlan
from .chat_encoding import ChatEncoder
from .image_rows import sam_pixels
from .inference_plan import check_aspect_ratio, describe_visuals, plan_inference, prompts_of_visuals
from .sa2va_pixels import PIXEL_RULE
from .sa2va_prompts import region_cells, sa2va_sequence
from .training_plan import plan_training
from .user_request import DeSa2VABatch, VisualInfo, apply_task, open_visuals, plan_requests

__all__ = [
    "BatchAssembler",
    "BatchPlan",
    "ChatEncoder",
    "DeSa2VABatch",
    "PIXEL_RULE",
    "PLACEHOLDERS",
    "VisualInfo",
    "apply_task",
    "check_aspect_ratio",
    "describe_visuals",
    "open_visuals",
    "plan_inference",
    "plan_requests",
    "plan_training",
    "prompts_of_visuals",
    "region_cells",
    "sa2va_sequence",
    "sam_pixels",
]
