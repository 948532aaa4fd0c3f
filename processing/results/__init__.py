"""What comes back: answers, objects, frames, records on disk."""

from .answer_text import AnswerParser, ParsedAnswer
from .counts import count_remarks
from .exchange import write_yolo
from .frame_collection import collect_frames
from .frame_export import GrowingOverlay, RequestSummary, summarise, write_coco, write_frame_png, write_result
from .frame_records import FrameRecords, read_frame_results
from .frame_results import FrameObject, FrameResult, ObjectLabel, frame_result
from .result_building import build_results
from .results import ObjectResult, SegmentationResult
from .statuses import FORCED, highest, is_refused, object_status, words_alone

__all__ = [
    "FORCED",
    "AnswerParser",
    "FrameObject",
    "FrameRecords",
    "FrameResult",
    "GrowingOverlay",
    "ObjectLabel",
    "ObjectResult",
    "ParsedAnswer",
    "RequestSummary",
    "SegmentationResult",
    "build_results",
    "collect_frames",
    "count_remarks",
    "frame_result",
    "highest",
    "is_refused",
    "object_status",
    "read_frame_results",
    "summarise",
    "words_alone",
    "write_coco",
    "write_frame_png",
    "write_result",
    "write_yolo",
]
