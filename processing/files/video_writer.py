"""Frames to an mp4 file.

In: RGB frames one by one. Out: a video of exactly as many frames, H.264 where this FFmpeg has it, else MPEG-4. Used
for overlays of results (paper figures), never for masks: video compression is lossy.
"""

from __future__ import annotations

import os
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np

from .claims import check_folder, hidden_sibling, make_file
from .file_targets import move_file

CODECS = ("libx264", "libopenh264", "mpeg4")
# A quarter of the time of x264's own choice, two thirds of `veryfast`'s, and as close to the frames as that is at its
# 23 (PSNR to .3 dB); files are up to half as large again.
X264 = {"preset": "superfast", "crf": "25.5"}


def check_video_size(height: int, width: int, fps: float) -> None:
    """Whether a video of frames of this size can be written, told by the encoder itself.

    Raises:
        ValueError: it can not.
    """
    name = _codec()
    codec = av.CodecContext.create(name, "w")
    _describe(codec, height, width, _rate(fps))
    try:
        codec.open()
    except (av.FFmpegError, ValueError) as error:
        raise ValueError(
            f"a video of {width} x {height} pixels at {fps:g} frames a second can not be written: the encoder "
            f"{name} takes about 16,000 pixels a side and 130 million in all; make the frames smaller first"
        ) from error


def _codec() -> str:
    return next(codec for codec in CODECS if codec in av.codecs_available)


def _rate(fps: float) -> Fraction:
    """Frames per second as codecs take it."""
    if not 0 < fps < float("inf"):
        raise ValueError(f"fps={fps}: must be above 0")
    return max(Fraction(fps).limit_denominator(1001), Fraction(1, 1001))


def _describe(codec: Any, height: int, width: int, rate: Fraction) -> None:
    """Tells an encoder what comes. 4:2:0 video has even sides: an odd frame gains a copy of its last row or column."""
    codec.height, codec.width = height + height % 2, width + width % 2
    codec.pix_fmt = "yuv420p"
    codec.framerate, codec.time_base = rate, 1 / rate
    if codec.name == "libx264":
        codec.options = X264


class VideoWriter:
    """Writes an mp4 next to its destination and moves it there when complete.

    Use as a context manager; after an exception nothing is left behind.

    Args:
        path: destination, `.mp4`.
        fps: frames per second, above 0.
        overwrite: replace an existing file.

    Raises:
        FileExistsError: the destination exists and `overwrite` is false.
        FileNotFoundError: its folder does not exist.
        ValueError: `fps` is not positive.
    """

    def __init__(self, path: str | os.PathLike, fps: float, overwrite: bool = False) -> None:
        self.path = Path(path)
        self._rate = _rate(fps)
        self._overwrite = overwrite
        if os.path.lexists(self.path) and not overwrite:
            raise FileExistsError(f"{self.path} exists; pass overwrite=True to replace it")
        check_folder(self.path)
        self._temporary = hidden_sibling(self.path, "writing")
        self._claim = make_file(self._temporary)
        self._container = av.open(str(self._temporary), "w")
        self._stream: av.VideoStream | None = None
        self._size: tuple[int, ...] = ()
        self.num_frames = 0

    def _open_stream(self, height: int, width: int) -> av.VideoStream:
        stream = self._container.add_stream(_codec(), rate=self._rate)
        _describe(stream.codec_context, height, width, self._rate)
        return stream

    def write(self, frame: np.ndarray) -> None:
        """Appends a frame, uint8 `(H, W, 3)`; all frames have the size of the first.

        Raises:
            ValueError: another size or type.
        """
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise ValueError(f"a frame must be uint8 (H, W, 3), got {frame.dtype} {frame.shape}")
        if self._stream is None:
            self._size = frame.shape
            self._stream = self._open_stream(*frame.shape[:2])
        if frame.shape != self._size:
            raise ValueError(f"frame {self.num_frames} has shape {frame.shape}, the first one {self._size}")
        if frame.shape[0] % 2 or frame.shape[1] % 2:
            frame = np.pad(frame, ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)), mode="edge")
        # Not copied: the encoder makes planes of its own of it before this returns.
        picture = av.VideoFrame.from_numpy_buffer(np.ascontiguousarray(frame), format="rgb24")
        self._container.mux(self._stream.encode(picture))
        self.num_frames += 1

    def close(self) -> None:
        """Ends the file and moves it to its destination.

        Raises:
            ValueError: no frame was written.
            FileExistsError: the destination has come into being meanwhile and `overwrite` is false.
        """
        try:
            if self._stream is None:
                raise ValueError(f"{self.path}: no frame was written")
            self._container.mux(self._stream.encode())
            self._container.close()
            move_file(self._temporary, self.path, self._overwrite)
        finally:
            self.abort()

    def abort(self) -> None:
        """Drops what was written, if anything still waits."""
        try:
            with suppress(av.FFmpegError, OSError):  # a full disk: closing writes, and fails once more
                self._container.close()
        finally:
            self._temporary.unlink(missing_ok=True)
            self._claim.release()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()


__all__ = ["VideoWriter", "check_video_size"]
