"""Results to files: JSON, COCO, palette PNGs, overlays as pictures, videos and GIFs.

In: a `SegmentationResult`. Out: files with one entry per input frame, whatever was found on it. A file is written
beside its destination and moved there when complete, and an existing file is replaced only on request. JSON and COCO
are exact; PNGs are exact except where objects overlap, which warns. (Results of METHOD section 6.)
"""

from __future__ import annotations

import json
import os
import warnings
import zlib
from collections.abc import Iterable
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .file_targets import write_file
from .gif import write_gif
from .mask_codec import mask_area, mask_box, mask_places
from .video_writer import VideoWriter

DEFAULT_FPS = 10.0


def write_json(path: str | os.PathLike, data: dict[str, Any], overwrite: bool = False) -> None:
    """Writes a dictionary as JSON (UTF-8)."""
    text = json.dumps(data, ensure_ascii=False)
    write_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"), overwrite)


def result_to_coco(result: Any) -> dict[str, Any]:
    """COCO dictionary of a result.

    Returns:
        `images`: one per frame, `id` is the frame number; `annotations`: one per object and frame where it has a mask,
        with `segmentation` (run-length code), `bbox` `[x, y, w, h]`, `area`, `score` (predicted IoU), `object_score`,
        `track_id` (number of the object) and `category_id`; `categories`: the phrases, `"object"` where there is none;
        `info`: the thresholds and rules by which logits became masks.
    """
    phrases = sorted({entry.phrase or "object" for entry in result.objects})
    categories = {phrase: index + 1 for index, phrase in enumerate(phrases)}
    images = [
        {"id": t, "file_name": f"{t:05d}", "height": result.height, "width": result.width}
        for t in range(result.num_frames)
    ]
    annotations = []
    for entry in result.objects:
        category = categories[entry.phrase or "object"]
        for t, code in enumerate(entry.codes):
            if mask_area(code):
                scores = (entry.iou_scores[t], entry.object_scores[t])
                number = len(annotations) + 1
                annotations.append(coco_annotation(number, t, category, entry.object_id, code, scores))
    named = [{"id": index, "name": phrase} for phrase, index in categories.items()]
    return {"info": asdict(result.options), "images": images, "annotations": annotations, "categories": named}


def coco_annotation(
    number: int, frame: int, category: int, object_id: int, code: dict[str, Any], scores: tuple[float, float]
) -> dict[str, Any]:
    """COCO's entry of a mask that is not empty; `scores` are its predicted IoU and object score."""
    x0, y0, x1, y1 = mask_box(code)
    return {
        "id": number,
        "image_id": frame,
        "category_id": category,
        "track_id": object_id,
        "segmentation": code,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": mask_area(code),
        "iscrowd": 0,
        "score": scores[0],
        "object_score": scores[1],
    }


@lru_cache(maxsize=1)
def index_palette() -> list[int]:
    """The 256 colours of DAVIS and PASCAL VOC index pictures, as 768 values: the bits of the index, spread."""
    palette = []
    for index in range(256):
        for channel in range(3):
            bits = [(index >> (3 * place + channel)) & 1 for place in range(8)]
            palette.append(sum(bit << (7 - place) for place, bit in enumerate(bits)))
    return palette


def index_pixels(masks: Iterable[tuple[int, np.ndarray]], size: tuple[int, int], frame: int) -> np.ndarray:
    """`(H_src, W_src)`: `object_id + 1` on objects, 0 elsewhere; of overlapping objects the first.

    Args:
        masks: number and bool mask of each object.
        size: of the frame.
        frame: its number, for messages.

    Returns:
        uint8, or uint16 where an object's number is above 254.

    Raises:
        ValueError: an object number above 65,534.
    """
    indices = np.zeros(size, dtype=np.uint8).reshape(-1)
    lost = 0
    for number, mask in masks:
        if number > 65534:
            raise ValueError(f"a PNG holds objects 0 to 65,534, there is an object {number}; use to_json")
        if number > 254:
            indices = indices.astype(np.uint16, copy=False)
        places = mask_places(mask)
        free = places[indices[places] == 0]
        lost += len(places) - len(free)
        indices[free] = number + 1
    if lost:
        warnings.warn(
            f"frame {frame}: {lost} pixels belong to several objects, a PNG of their numbers keeps the first; "
            "JSON keeps all, non_overlapping gives each pixel to one object",
            stacklevel=2,
        )
    return indices.reshape(size)


def index_mask(result: Any, t: int) -> np.ndarray:
    """`index_pixels` of frame `t` of a `SegmentationResult`."""
    masks = ((entry.object_id, entry.mask(t)) for entry in result.objects)
    return index_pixels(masks, (result.height, result.width), t)


def write_index_png(pixels: np.ndarray, path: str | os.PathLike, overwrite: bool = False) -> None:
    """Writes object indices `(H, W)` as a palette PNG where they are uint8, a grey one of 16 bits where uint16."""
    image = Image.fromarray(pixels)
    if pixels.dtype == np.uint8:
        image.putpalette(index_palette())
    # Runs alone are packed: as fast as level 1 of everything and, of masks, half as large.
    options = {"format": "PNG", "compress_level": 1, "compress_type": zlib.Z_RLE}
    write_file(path, lambda temporary: image.save(temporary, **options), overwrite)


def save_index_pngs(result: Any, folder: str | os.PathLike, overwrite: bool = False) -> list[str]:
    """Writes `00000.png`, ... with `index_mask` of every frame, and returns the paths.

    Raises:
        FileExistsError: one of the files exists and `overwrite` is false; nothing is written then.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{t:05d}.png" for t in range(result.num_frames)]
    existing = [path for path in paths if path.exists()]
    if existing and not overwrite:
        raise FileExistsError(f"{existing[0]} exists; pass overwrite=True to replace it")
    for t, path in enumerate(paths):
        write_index_png(index_mask(result, t), path, overwrite)
    return [str(path) for path in paths]


def write_clip(path: str | os.PathLike, frames: Iterable[np.ndarray], fps: float, overwrite: bool = False) -> None:
    """Writes frames uint8 `(H, W, 3)` as a GIF or, with any other ending, an mp4.

    Raises:
        FileExistsError: `path` exists and `overwrite` is false.
        ValueError: no frame, frames of different sizes, or `fps` not above 0.
    """
    if Path(path).suffix.lower() == ".gif":
        write_gif(path, frames, fps, overwrite)
        return
    with VideoWriter(path, fps, overwrite) as writer:
        for frame in frames:
            writer.write(frame)


def save_overlay(result: Any, path: str | os.PathLike, overwrite: bool = False) -> None:
    """Writes the frames with their masks: an mp4 or a GIF of a video, a picture file (by its extension) of a picture.

    Raises:
        ValueError: the result has no picture, was read from a file, or a video is to become a picture.
        FileExistsError: `path` exists and `overwrite` is false.
    """
    if result.source is None:
        raise ValueError("the result holds no frames to draw on (text alone, or read from a file)")
    suffix = Path(path).suffix.lower()
    if suffix == ".mp4" or (suffix == ".gif" and result.num_frames != 1):
        drawn = (result.plot(t, frame) for t, frame in enumerate(result.source.iterate()))
        write_clip(path, drawn, result.fps or DEFAULT_FPS, overwrite)
        return
    if result.num_frames != 1:
        raise ValueError(f"{path}: the overlay of a video is an .mp4 or a .gif file")
    image = Image.fromarray(result.plot(0))
    write_file(path, image.save, overwrite)


__all__ = [
    "coco_annotation",
    "index_mask",
    "index_palette",
    "index_pixels",
    "result_to_coco",
    "save_index_pngs",
    "save_overlay",
    "write_clip",
    "write_index_png",
    "write_json",
]
