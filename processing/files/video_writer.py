"""Frames to an mp4 file.

In: RGB frames one by one. Out: a video of exactly as many frames, H.264 where this FFmpeg has it, else MPEG-4. Used
for overlays of results (paper figures), never for masks: video compression is lossy.
"""

from __future__ import annotations

import os
import tempfile
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np

CODECS = ("libx264", "libopenh264", "mpeg4")


def temporary_sibling(path: Path) -> str:
    """A new empty file beside `path`, with the permissions any new file gets; `mkstemp` alone hides it from others."""
    handle, name = tempfile.mkstemp(suffix=path.suffix, prefix=".writing-", dir=path.parent)
    os.close(handle)
    mask = os.umask(0)
    os.umask(mask)
    os.chmod(name, 0o666 & ~mask)
    return name


class VideoWriter:
    """Writes an mp4 next to its destination and moves it there when complete.

    Use as a context manager; after an exception nothing is left behind.

    Args:
        path: destination, `.mp4`.
        fps: frames per second, above 0.
        overwrite: replace an existing file.

    Raises:
        FileExistsError: the destination exists and `overwrite` is false.
        ValueError: `fps` is not positive.
    """

    def __init__(self, path: str | os.PathLike, fps: float, overwrite: bool = False) -> None:
        self.path = Path(path)
        if not fps > 0:
            raise ValueError(f"fps={fps}: must be above 0")
        if self.path.exists() and not overwrite:
            raise FileExistsError(f"{self.path} exists; pass overwrite=True to replace it")
        name = temporary_sibling(self.path)
        self._temporary = Path(name)
        self._rate = Fraction(fps).limit_denominator(1001)
        self._container = av.open(name, "w")
        self._stream: av.VideoStream | None = None
        self._size: tuple[int, ...] = ()
        self.num_frames = 0

    def _open_stream(self, height: int, width: int) -> av.VideoStream:
        codec = next(codec for codec in CODECS if codec in av.codecs_available)
        stream = self._container.add_stream(codec, rate=self._rate)
        # 4:2:0 video has even sides: an odd frame gains a copy of its last row or column.
        stream.height, stream.width = height + height % 2, width + width % 2
        stream.pix_fmt = "yuv420p"
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
        padded = np.pad(frame, ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)), mode="edge")
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(padded), format="rgb24")
        self._container.mux(self._stream.encode(picture))
        self.num_frames += 1

    def close(self) -> None:
        """Ends the file and moves it to its destination.

        Raises:
            ValueError: no frame was written.
        """
        if self._stream is None:
            self.abort()
            raise ValueError(f"{self.path}: no frame was written")
        self._container.mux(self._stream.encode())
        self._container.close()
        os.replace(self._temporary, self.path)

    def abort(self) -> None:
        """Drops what was written."""
        self._container.close()
        self._temporary.unlink(missing_ok=True)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()


__all__ = ["VideoWriter", "temporary_sibling"]
