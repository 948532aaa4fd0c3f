"""Whatever a user hands over: pictures, videos, cameras, clicks, messages, and which frames are looked at."""

from .chat_messages import Dialogue, VisualPart, parse_messages
from .download import download
from .frame_source import FrameSource, check_indices, frame_range, frame_seconds
from .given_sources import is_picture, plain_source, shown, shown_source
from .image_loading import IMAGE_EXTENSIONS, image_size, load_image
from .key_frames import key_frame_indices, refuse_without_video
from .live_source import LiveSource
from .prefetch import prefetch
from .tasks import (
    MARKED_REQUEST,
    TASKS,
    VISUAL_TASKS,
    WORD_TASKS,
    WORDED_TASKS,
    apply_task,
    asked_phrase,
    check_tasks,
    default_request,
    prompts_suffice,
    region_phrase,
    task_of_each,
)
from .video_io import MemorySource, is_live, open_visual
from .visual_kind import visual_kind
from .visual_prompts import MAX_CLICKS, ObjectPrompt, draw_regions, parse_prompts, sam_prompts

__all__ = [
    "Dialogue",
    "FrameSource",
    "IMAGE_EXTENSIONS",
    "LiveSource",
    "MARKED_REQUEST",
    "MAX_CLICKS",
    "MemorySource",
    "ObjectPrompt",
    "TASKS",
    "VISUAL_TASKS",
    "VisualPart",
    "WORDED_TASKS",
    "WORD_TASKS",
    "apply_task",
    "asked_phrase",
    "check_indices",
    "check_tasks",
    "default_request",
    "download",
    "draw_regions",
    "frame_range",
    "frame_seconds",
    "image_size",
    "is_live",
    "is_picture",
    "key_frame_indices",
    "load_image",
    "open_visual",
    "parse_messages",
    "parse_prompts",
    "plain_source",
    "prefetch",
    "prompts_suffice",
    "refuse_without_video",
    "region_phrase",
    "sam_prompts",
    "shown",
    "shown_source",
    "task_of_each",
    "visual_kind",
]
