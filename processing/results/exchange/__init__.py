"""What other people's tools read: polygons, YOLO labels, Label Studio, supervision, FiftyOne.

Functions of one frame's objects: each has `object_id`, `phrase`, `code`, `iou_score` and `object_score`. Objects
without a pixel on the frame are left out, and the frame stays.
"""

from .classes import class_names
from .label_studio import brush_rle, label_studio_task
from .polygons import mask_rings
from .third_party import fiftyone_detections, supervision_detections
from .yolo import write_yolo, yolo_lines

__all__ = [
    "brush_rle",
    "class_names",
    "fiftyone_detections",
    "label_studio_task",
    "mask_rings",
    "supervision_detections",
    "write_yolo",
    "yolo_lines",
]
