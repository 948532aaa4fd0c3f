"""Masks as codes, cleaned; what is written: PNG, MP4, GIF, COCO, JSON, drawings; and files and folders as targets."""

from .claims import Claim
from .export import (
    DEFAULT_FPS,
    coco_annotation,
    index_pixels,
    result_to_coco,
    save_index_pngs,
    save_overlay,
    write_clip,
    write_index_png,
    write_json,
)
from .file_targets import check_file_target, write_file
from .folder_targets import check_folder_target, output_folder
from .mask_cleanup import MaskOptions, clean_mask, frame_codes
from .mask_codec import (
    check_code,
    decode_mask,
    empty_code,
    encode_mask,
    logits_to_codes,
    mask_area,
    mask_box,
    mask_iou,
    polygon_code,
    resize_logits,
    unite_masks,
)
from .plain_data import Code, is_text, parse_json, read_dataclass, read_json, typed
from .video_writer import VideoWriter, check_video_size
from .visualization import object_colour, overlay_masks

__all__ = [
    "Claim",
    "Code",
    "DEFAULT_FPS",
    "MaskOptions",
    "VideoWriter",
    "check_code",
    "check_file_target",
    "check_folder_target",
    "check_video_size",
    "clean_mask",
    "coco_annotation",
    "decode_mask",
    "empty_code",
    "encode_mask",
    "frame_codes",
    "index_pixels",
    "is_text",
    "logits_to_codes",
    "mask_area",
    "mask_box",
    "mask_iou",
    "object_colour",
    "output_folder",
    "overlay_masks",
    "parse_json",
    "polygon_code",
    "read_dataclass",
    "read_json",
    "resize_logits",
    "result_to_coco",
    "save_index_pngs",
    "save_overlay",
    "typed",
    "unite_masks",
    "write_clip",
    "write_file",
    "write_index_png",
    "write_json",
]
