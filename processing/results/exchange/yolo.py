"""Labels as YOLO's segmentation reads them.

In: frames. Out: one text file per frame, empty where nothing is seen, and the names of the classes. A line is the
class and the corners of one polygon, as fractions of width and height. The format knows neither holes nor several
parts: they hang together by bridges without width (`joined_rings`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from desa2va.processing.files import decode_mask, mask_area, write_file

from .classes import class_name, class_names
from .polygons import joined_rings, mask_rings


def yolo_lines(objects: Sequence[Any], size: tuple[int, int], names: Sequence[str] | None = None) -> list[str]:
    """One line per object that has a pixel.

    Args:
        objects: of one frame.
        size: height and width of the frame, pixels.
        names: the classes, in the order of their numbers; those of `objects` when omitted.

    Raises:
        ValueError: a phrase that is not among `names`.
    """
    names = class_names(objects) if names is None else list(names)
    lines = []
    for entry in objects:
        if not mask_area(entry.code):
            continue
        name = class_name(entry)
        if name not in names:
            raise ValueError(f"object {entry.object_id} is of the class {name!r:.60}, which is not among names")
        corners = joined_rings(mask_rings(decode_mask(entry.code))) / (size[1], size[0])
        lines.append(" ".join([str(names.index(name)), *(f"{value:.7f}" for value in corners.ravel())]))
    return lines


def write_yolo(
    frames: Iterable[Any], names: Sequence[str], folder: str | os.PathLike, overwrite: bool = False
) -> list[str]:
    """Writes `labels/00000.txt`, ... of frame results and `data.yaml` with the names, and returns the labels' paths.

    Args:
        frames: anything that yields `FrameResult`s, such as a stream; one at a time is in memory.
        names: see `yolo_lines`.
        folder: made where it is absent.
        overwrite: replace existing files.

    Raises:
        FileExistsError: a file exists and `overwrite` is false.
        ValueError: a phrase that is not among `names`.
    """
    labels = Path(folder) / "labels"
    labels.mkdir(parents=True, exist_ok=True)
    # JSON is YAML, and quotes whatever a phrase may hold.
    listed = f"names: {json.dumps(list(names), ensure_ascii=False)}\n"
    write_file(Path(folder) / "data.yaml", lambda temporary: temporary.write_text(listed, encoding="utf-8"), overwrite)
    paths = []
    for result in frames:
        text = "".join(f"{line}\n" for line in result.to_yolo(names))
        path = labels / f"{result.frame:05d}.txt"
        write_file(path, lambda temporary, text=text: temporary.write_text(text, encoding="utf-8"), overwrite)
        paths.append(str(path))
    return paths


__all__ = ["write_yolo", "yolo_lines"]
