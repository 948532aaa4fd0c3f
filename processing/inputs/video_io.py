"""Videos of any origin as frames that are decoded when asked for.

In: a video file, a folder of pictures, a list of pictures or an array. Out: a `FrameSource`, which knows its length
and time stamps without decoding and reads frames forwards, backwards or singly in bounded memory.
METHOD section 6: the tracker runs over every frame in both directions, so length must cost time only.

A frame that can not be decoded is replaced by the last good frame before it (at the start: by the first good one
after it) and a warning names it: the number of frames, and with it every time stamp and mask, stays in place. A video
without any frame that can be decoded is a `ValueError`.
"""

from __future__ import annotations

import math
import os
import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .decoder_source import DecoderSource, is_decoder
from .download import is_url
from .frame_source import FrameSource, check_indices, check_sizes, frame_range
from .given_sources import is_file, plain_source, shown_source
from .image_loading import IMAGE_EXTENSIONS, image_size, load_image
from .video_decoding import VideoFileSource


class _RandomAccessSource(ABC):
    """Shared by sources whose frames can be read one at a time at equal cost."""

    def __init__(self, name: str, size: tuple[int, int], num_frames: int, fps: float | None) -> None:
        self.name = name
        self.height, self.width = size
        self.fps = fps
        self.timestamps = [index / (fps or 1.0) for index in range(num_frames)]

    def __len__(self) -> int:
        return len(self.timestamps)

    @abstractmethod
    def _frame(self, index: int) -> np.ndarray:
        """The frame at an index that is in range."""

    def read(self, indices: Sequence[int]) -> list[np.ndarray]:
        """Frames at these indices, in the order asked for."""
        check_indices(len(self), indices)
        return [self._frame(index) for index in indices]

    def iterate(self, start: int = 0, stop: int | None = None, step: int = 1) -> Iterator[np.ndarray]:
        """Frames `range(start, stop, step)`."""
        return (self._frame(index) for index in frame_range(len(self), start, stop, step))


class MemorySource(_RandomAccessSource):
    """Frames held in memory.

    Args:
        frames: pictures of one size, anything `load_image` takes.
        name: named in errors.
        fps: frames per second, if known.

    Raises:
        ValueError: no frames, or frames of different sizes (both are named).
    """

    def __init__(self, frames: Sequence[Any], name: str = "video", fps: float | None = None) -> None:
        self._frames = [load_image(frame, f"{name} frame {index}") for index, frame in enumerate(frames)]
        if not self._frames:
            raise ValueError(f"{name}: a video needs at least one frame, got none")
        sizes = [frame.shape[:2] for frame in self._frames]
        check_sizes([f"frame {index}" for index in range(len(sizes))], sizes, name)
        super().__init__(name, sizes[0], len(sizes), fps)

    def _frame(self, index: int) -> np.ndarray:
        return self._frames[index]


class FolderSource(_RandomAccessSource):
    """The pictures of a folder as a video, in natural order of their names (`frame2` before `frame10`).

    Args:
        folder: only files with a picture's extension count, hidden ones (`._1.png`) do not. A folder, pipe or dangling
            link of such a name is left out with a warning.
        fps: frames per second, if known.

    Raises:
        ValueError: no pictures, pictures of different sizes (both are named), or none that can be read.
    """

    def __init__(self, folder: str | os.PathLike, fps: float | None = None) -> None:
        self.paths = _pictures(Path(folder))
        if not self.paths:
            raise ValueError(f"{folder}: no pictures in this folder; frames need one of {', '.join(IMAGE_EXTENSIONS)}")
        self._broken: set[int] = set()
        sizes: dict[int, tuple[int, int]] = {}
        for index, path in enumerate(self.paths):
            try:
                sizes[index] = image_size(path)
            except ValueError as error:
                self._report(index, error)
        if not sizes:
            raise ValueError(f"{folder}: none of the {len(self.paths)} pictures can be read")
        check_sizes([self.paths[index].name for index in sizes], list(sizes.values()), str(folder))
        super().__init__(str(folder), next(iter(sizes.values())), len(self.paths), fps)

    def _report(self, index: int, error: Exception) -> None:
        self._broken.add(index)
        warnings.warn(f"frame {index} is broken and replaced by its neighbour: {error}", stacklevel=2)

    def _frame(self, index: int) -> np.ndarray:
        for candidate in (*range(index, -1, -1), *range(index + 1, len(self))):
            if candidate in self._broken:
                continue
            try:
                return load_image(self.paths[candidate])
            except ValueError as error:
                self._report(candidate, error)
        raise ValueError(f"{self.name}: none of the {len(self)} pictures can be read")


def _pictures(folder: Path) -> list[Path]:
    """The picture files of a folder, in natural order of their names."""
    named = [
        path for path in folder.iterdir() if path.suffix.lower() in IMAGE_EXTENSIONS and not path.name.startswith(".")
    ]
    others = sorted(path.name for path in named if not path.is_file())
    if others:
        warnings.warn(f"{folder}: {', '.join(others):.200} left out: a folder, pipe or dangling link", stacklevel=4)
    return sorted((path for path in named if path.is_file()), key=lambda path: _natural_key(path.name))


def _natural_key(name: str) -> list[tuple[int, int | str]]:
    """Digits 0 to 9 compare as numbers; others (`²`) are letters, which `int` can not read."""
    parts = re.split(r"([0-9]+)", name.lower())
    return [(0, int(part)) if place % 2 else (1, part) for place, part in enumerate(parts) if part]


def open_visual(source: Any, name: str = "video", fps: float | None = None) -> FrameSource:
    """Opens a video of any origin.

    Args:
        source: a `FrameSource`; a path or address of a video file; a folder of pictures; a list of pictures; a numpy
            array or torch tensor `(T, H, W, C)` or `(T, C, H, W)`; a `VideoDecoder` of torchcodec; or anything
            `plain_source` takes: file:// and data: addresses, base64, bytes, open binary files, cells of `datasets`.
        name: what errors call it.
        fps: frames per second of folders, lists and arrays, which do not know their own.

    Raises:
        FileNotFoundError: no such file or folder.
        ValueError: no video stream or no frame, frames of different sizes, or a frame rate that is none or that the
            source states itself.
        TypeError: the source is none of the kinds above.
    """
    if fps is not None and not 0 < fps < math.inf:
        raise ValueError(f"{name}: fps={fps!r} must be a positive number")
    opened = _open(source, name, fps)
    if fps is not None and opened.fps != fps:
        raise ValueError(f"{name}: fps={fps:g} is for folders, lists and arrays; this source has its own time")
    return opened


def _open(source: Any, name: str, fps: float | None) -> FrameSource:
    if isinstance(source, FrameSource):
        return source
    if is_decoder(source):
        return DecoderSource(source, name)
    source = plain_source(source, name)
    if isinstance(source, bytes):
        return VideoFileSource(source, name)
    if isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        if os.path.isdir(path):
            return FolderSource(path, fps)
        if not is_url(path) and not os.path.isfile(path):
            raise FileNotFoundError(f"{name}: no file or folder at {shown_source(path)}")
        return VideoFileSource(path)
    if isinstance(source, (np.ndarray, torch.Tensor)):
        if source.ndim != 4:
            raise ValueError(f"{name}: a video array must have four dimensions, got shape {tuple(source.shape)}")
        return MemorySource(list(source), name, fps)
    if isinstance(source, (list, tuple)):
        return MemorySource(source, name, fps)
    raise TypeError(
        f"{name}: expected a path, folder, address, bytes, open file, list of frames, array, VideoDecoder or "
        f"FrameSource, got {type(source).__name__}"
    )


def is_live(source: Any) -> bool:
    """Whether a video is an iterator of frames, such as a camera, and not one of the sources of `open_visual`."""
    known = (str, bytes, bytearray, memoryview, os.PathLike, np.ndarray, torch.Tensor, list, tuple, dict, FrameSource)
    return isinstance(source, Iterable) and not (isinstance(source, known) or is_decoder(source) or is_file(source))


__all__ = ["FolderSource", "FrameSource", "MemorySource", "VideoFileSource", "is_live", "open_visual"]
