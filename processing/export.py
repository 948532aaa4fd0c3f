"""Results to files: JSON, COCO, palette PNGs, overlay pictures and videos.

In: a `SegmentationResult`. Out: files with one entry per input frame, whatever was found on it. A file is written
beside its destination and moved there when complete, and an existing file is replaced only on request. JSON and COCO
are exact; PNGs are exact except where objects overlap, which warns. (Results of METHOD section 6.)
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .mask_codec import mask_area, mask_box
from .video_writer import VideoWriter, temporary_sibling
from .visualization import overlay_masks

DEFAULT_FPS = 10.0


def write_file(path: str | os.PathLike, write: Callable[[Path], None], overwrite: bool = False) -> None:
    """Lets `write` fill a temporary file beside `path`, then moves it there.

    Raises:
        FileExistsError: `path` exists and `overwrite` is false.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; pass overwrite=True to replace it")
    name = temporary_sibling(path)
    try:
        write(Path(name))
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def write_json(path: str | os.PathLike, data: dict[str, Any], overwrite: bool = False) -> None:
    """Writes a dictionary as JSON (UTF-8)."""
    text = json.dumps(data, ensure_ascii=False)
    write_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"), overwrite)


def read_json(path: str | os.PathLike) -> dict[str, Any]:
    """Reads a dictionary written by `write_json`."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def result_to_coco(result: Any) -> dict[str, Any]:
    """COCO dictionary of a result.

    Returns:
        `images`: one per frame, `id` is the frame number; `annotations`: one per object and frame where it has a mask,
        with `segmentation` (run-length code), `bbox` `[x, y, w, h]`, `area`, `score` (predicted IoU), `object_score`,
        `track_id` (number of the object) and `category_id`; `categories`: the phrases, `"object"` where there is none.
    """
    phrases = sorted({entry.phrase or "object" for entry in result.objects})
    categories = {phrase: index + 1 for index, phrase in enumerate(phrases)}
    images = [
        {"id": t, "file_name": f"{t:05d}", "height": result.height, "width": result.width}
        for t in range(result.num_frames)
    ]
    annotations = []
    for entry in result.objects:
        for t, code in enumerate(entry.codes):
            box = mask_box(code)
            if box is None:
                continue
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": t,
                    "category_id": categories[entry.phrase or "object"],
                    "track_id": entry.object_id,
                    "segmentation": code,
                    "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                    "area": mask_area(code),
                    "iscrowd": 0,
                    "score": entry.iou_scores[t],
                    "object_score": entry.object_scores[t],
                }
            )
    named = [{"id": index, "name": phrase} for phrase, index in categories.items()]
    return {"images": images, "annotations": annotations, "categories": named}


def index_palette() -> list[int]:
    """The 256 colours of DAVIS and PASCAL VOC index pictures, as 768 values: the bits of the index, spread."""
    palette = []
    for index in range(256):
        for channel in range(3):
            bits = [(index >> (3 * place + channel)) & 1 for place in range(8)]
            palette.append(sum(bit << (7 - place) for place, bit in enumerate(bits)))
    return palette


def index_mask(result: Any, t: int) -> np.ndarray:
    """Uint8 `(H_src, W_src)` of frame `t`: `object_id + 1` on objects, 0 elsewhere; of overlapping objects the first.

    Raises:
        ValueError: more than 255 objects.
    """
    if len(result.objects) > 255:
        raise ValueError(f"a palette picture holds 255 objects, the result has {len(result.objects)}; use to_json")
    indices = np.zeros((result.height, result.width), dtype=np.uint8)
    lost = 0
    for entry in result.objects:
        mask = entry.mask(t)
        lost += int((mask & (indices > 0)).sum())
        indices[mask & (indices == 0)] = entry.object_id + 1
    if lost:
        warnings.warn(
            f"frame {t}: {lost} pixels belong to several objects, a palette picture keeps the first; use to_json",
            stacklevel=2,
        )
    return indices


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
    palette = index_palette()
    for t, path in enumerate(paths):
        image = Image.fromarray(index_mask(result, t), mode="P")
        image.putpalette(palette)
        write_file(path, lambda temporary, image=image: image.save(temporary, format="PNG"), overwrite)
    return [str(path) for path in paths]


def render_frame(result: Any, frame: np.ndarray, t: int) -> np.ndarray:
    """Uint8 `(H, W, 3)`: frame `t` with the masks of all objects and their phrases."""
    masks = [entry.mask(t) for entry in result.objects]
    labels = [entry.phrase or f"object {entry.object_id}" for entry in result.objects]
    return overlay_masks(frame, masks, labels, object_ids=[entry.object_id for entry in result.objects])


def save_overlay(result: Any, path: str | os.PathLike, overwrite: bool = False) -> None:
    """Writes the frames with their masks: an mp4 of a video, a picture file (by its extension) of a picture.

    Raises:
        ValueError: the result has no picture, was read from a file, or a video is to become a picture.
        FileExistsError: `path` exists and `overwrite` is false.
    """
    if result.source is None:
        raise ValueError("the result holds no frames to draw on (text alone, or read from a file)")
    if Path(path).suffix.lower() == ".mp4":
        with VideoWriter(path, result.fps or DEFAULT_FPS, overwrite) as writer:
            for t, frame in enumerate(result.source.iterate()):
                writer.write(render_frame(result, frame, t))
        return
    if result.num_frames != 1:
        raise ValueError(f"{path}: the overlay of a video is an .mp4 file")
    image = Image.fromarray(render_frame(result, result.source.read([0])[0], 0))
    write_file(path, image.save, overwrite)


__all__ = [
    "index_mask",
    "index_palette",
    "read_json",
    "render_frame",
    "result_to_coco",
    "save_index_pngs",
    "save_overlay",
    "write_file",
    "write_json",
]
