"""The pixels of a record: its size when it is made, its frames when a sample is.

Enters: names of files, or their contents from cells of a table. Leaves: (height, width), numbers of frames, uint8
frames and their seconds. (Engineering; no paper section.)
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from desa2va.processing.inputs import frame_seconds, image_size, load_image, open_visual

from .records import Record, RecordError, is_picture_name


def measure(paths: tuple[str, ...], is_video: bool, media: tuple[bytes, ...] = ()) -> tuple[tuple[int, int], int]:
    """(height, width) and number of frames of files, read from their headers.

    Args:
        paths: a picture, frame pictures, or one video file or folder. is_video: whether they are a video.
        media: contents of the files, where they come from cells of a table.

    Raises:
        ValueError: a file that is broken, a list of frames with a file that is no picture, frames of different sizes.
    """
    if is_video and not is_picture_name(paths[0]):
        if len(paths) > 1:
            raise ValueError(f"{paths[0]} is no picture; a list of frames holds picture files")
        source = open_visual(io.BytesIO(media[0]) if media else paths[0])
        return (source.height, source.width), len(source)
    sizes = [image_size(file) for file in media or paths]
    for path, size in zip(paths, sizes, strict=True):
        if size != sizes[0]:
            raise ValueError(
                f"frames of one video need one size, but {paths[0]} is {sizes[0][1]} x {sizes[0][0]} and {path} "
                f"is {size[1]} x {size[0]} (width x height)"
            )
    return sizes[0], len(sizes)


def read_frames(record: Record, frames: list[int]) -> np.ndarray:
    """The pixels of a record's frames: uint8 `(T, H, W, 3)`.

    Raises:
        ValueError: a file that cannot be decoded.
    """
    return read_timed_frames(record, frames)[0]


def read_timed_frames(record: Record, frames: list[int]) -> tuple[np.ndarray, tuple[float, ...] | None]:
    """`read_frames`, and the seconds of each frame (`None` for a picture): those that inference on the file tells."""
    if record.of_pictures:
        pixels = np.stack([load_image(_file(record, frame), record.paths[frame]) for frame in frames])
        return pixels, _seconds(record, None, frames) if record.is_video else None
    source = open_visual(_file(record, 0))
    numbers = [frame * record.stride for frame in frames]
    return np.stack(source.read(numbers)), _seconds(record, source, numbers)


def iterate_frames(record: Record) -> Iterator[np.ndarray]:
    """All frames of a record, uint8 `(H, W, 3)`, one after the other."""
    if record.of_pictures:
        return (load_image(_file(record, number), path) for number, path in enumerate(record.paths))
    return iter(open_visual(_file(record, 0)).iterate(step=record.stride)) if record.paths else iter(())


def _seconds(record: Record, source: Any, frames: list[int]) -> tuple[float, ...]:
    if source is None and record.fps:
        return tuple(frame / record.fps for frame in frames)
    return tuple(frame_seconds(source, frames))


def _file(record: Record, number: int) -> Any:
    return io.BytesIO(record.media[number]) if record.media else record.paths[number]


def unreadable(record: Record) -> list[RecordError]:
    """Decodes every frame of a record: the problem found, none where all is well."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            for _ in iterate_frames(replace(record, stride=1)):
                pass
    except (ValueError, OSError, UserWarning) as error:
        return [RecordError(record.name, "video" if record.is_video else "image", str(error))]
    return []


__all__ = ["iterate_frames", "measure", "read_frames", "read_timed_frames", "unreadable"]
