"""Frames to an animated GIF, with as many pictures as frames.

In: RGB frames one by one. Out: a GIF that repeats for ever, 256 colours a frame. Pillow's own writer leaves out a
frame that equals the one before; here picture t is frame t. (Engineering; no paper section.)
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.GifImagePlugin import getdata

from .file_targets import write_file

_REPEAT = b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00"
_END = b"\x3b"
_SHORTEST = 2  # hundredths of a second; what is shorter is shown for ten of them


def write_gif(path: str | os.PathLike, frames: Iterable[np.ndarray], fps: float, overwrite: bool = False) -> None:
    """Writes frames as a GIF; one at a time is in memory.

    Args:
        path: the file. frames: uint8 `(H, W, 3)` of one size, at least one.
        fps: frames per second; kept on average, in hundredths of a second, and at most 50.
        overwrite: replace an existing file.

    Raises:
        FileExistsError: `path` exists and `overwrite` is false.
        ValueError: no frame, frames of different sizes, or `fps` not above 0.
    """
    if not 0 < fps < float("inf"):
        raise ValueError(f"fps={fps}: must be above 0")

    def write(temporary: Path) -> None:
        shape, shown = None, 0
        with open(temporary, "wb") as file:
            for number, frame in enumerate(frames):
                if shape is None:
                    shape = frame.shape
                    file.write(b"GIF89a" + struct.pack("<HHBBB", shape[1], shape[0], 0x70, 0, 0) + _REPEAT)
                if frame.shape != shape:
                    raise ValueError(f"frame {number} has shape {frame.shape}, the first one {shape}")
                until = max(shown + _SHORTEST, round(100 * (number + 1) / fps))
                image = Image.fromarray(frame).quantize(256)
                file.write(b"".join(getdata(image, duration=10 * (until - shown), include_color_table=True)))
                shown = until
            if shape is None:
                raise ValueError(f"{path}: no frame was written")
            file.write(_END)

    write_file(path, write, overwrite)


__all__ = ["write_gif"]
