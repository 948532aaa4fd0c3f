"""A video file as a `FrameSource`: PyAV, decoded when asked for, forwards and backwards, in bounded memory.

In: the path or address of a video file. Out: `VideoFileSource`. Length and time stamps come from the packets, without
decoding; a frame is reached by seeking to the key packet before it (METHOD section 6). Frames that can not be decoded
are replaced by the last good frame before them (at the start: by the first good one after them), and frames of another
size than the first are resized to it, both with a warning that names them.
"""

from __future__ import annotations

import bisect
import io
import itertools
import os
import tempfile
import warnings
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import av
import numpy as np

from .download import download, is_url, shown_url
from .frame_source import check_indices, frame_range

URL_MAX_BYTES = 4 * 1024**3
# Frames decoded forwards and held at once when a video is read backwards.
REVERSE_CHUNK_BYTES = 128 * 1024 * 1024
# A title that is no UTF-8 is no reason to refuse. PyAV 19 never does, and no longer takes the option.
_ANY_TITLE = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}


class VideoFileSource:
    """Frames of a video file. Attributes as in `FrameSource`.

    Args:
        path: file that FFmpeg can read, the http address of one, which is downloaded to a temporary file first, or its
            bytes. The rotation in its metadata is applied.
        name: what errors and results call bytes.

    Raises:
        ValueError: the file can not be read as a video, or holds no frame that can be decoded.
    """

    def __init__(self, path: str | os.PathLike | bytes, name: str = "video") -> None:
        self.path = self.name = name if isinstance(path, bytes) else os.fspath(path)
        self._content = path if isinstance(path, bytes) else None
        self._downloaded: Any = None
        if self._content is None and is_url(self.path):
            self.name = shown_url(self.path)
            # Gone with this object. FFmpeg itself would wait for a mute server, or follow one that never ends.
            self._downloaded = tempfile.NamedTemporaryFile(prefix="desa2va-video-")  # noqa: SIM115
            download(self.path, self._downloaded, URL_MAX_BYTES)
            self._downloaded.flush()
        self._resized = False
        try:
            self._scan()
            first = next(self._decode(0, 1), None)
        except (av.FFmpegError, IndexError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ValueError(f"{self.name}: can not be read as a video ({reason})") from error
        if first is None:
            raise ValueError(f"{self.name}: the video holds no frame that can be decoded")
        self.height, self.width = _array(first[1], None).shape[:2]

    @contextmanager
    def _open(self) -> Iterator[Any]:
        """FFmpeg's container. What comes from anywhere could be a list of other files, of which none is opened."""
        if self._content is None and self._downloaded is None:
            with av.open(self.path, **_ANY_TITLE) as container:
                yield container
            return
        stream = io.FileIO(self._downloaded.name) if self._content is None else io.BytesIO(self._content)
        with stream, av.open(stream, options={"protocol_whitelist": "none"}, **_ANY_TITLE) as container:
            yield container

    def _scan(self) -> None:
        """Reads length, time stamps and frame rate from the packets."""
        with self._open() as container:
            if not container.streams.video:
                raise ValueError(f"{self.name}: the file has no video stream (sound alone, or cut off)")
            stream = container.streams.video[0]
            rate = stream.average_rate or stream.guessed_rate
            self.fps: float | None = float(rate) if rate else None
            marks, keys = array("q"), (array("q"), array("q"))
            searchable = True
            for packet in container.demux(stream):
                if not packet.size or packet.is_discard:
                    continue
                if packet.pts is None:
                    searchable = False
                elif packet.is_keyframe:
                    keys[0].append(packet.pts)
                    keys[1].append(packet.pts if packet.dts is None else packet.dts)
                marks.append(packet.pts or 0)
            base = float(stream.time_base or 0)
        if not marks:
            raise ValueError(f"{self.name}: the video holds no frames")
        ordered = np.sort(np.frombuffer(marks, dtype=np.int64))
        # Streams without a unique time stamp per packet can not be searched; they are decoded from the start.
        self._searchable = searchable and bool((np.diff(ordered) > 0).all())
        # Arrays of numbers, not lists of objects: two hours are 216,000 frames.
        self._marks = array("q", ordered.tobytes())
        self._keys, self._offsets = array("q"), array("q")
        if self._searchable and len(keys[0]):
            shown, offsets = (np.frombuffer(numbers, dtype=np.int64) for numbers in keys)
            order = shown.argsort()
            self._keys = array("q", np.searchsorted(ordered, shown[order]).astype(np.int64).tobytes())
            self._offsets = array("q", offsets[order].tobytes())
        if self._searchable and base:
            self.timestamps = ((ordered - ordered[0]) * base).tolist()
        else:
            self.timestamps = [index / (self.fps or 1.0) for index in range(len(marks))]

    def __len__(self) -> int:
        return len(self._marks)

    def read(self, indices: Sequence[int]) -> list[np.ndarray]:
        """Frames at these indices, in the order asked for. Frames that share a key packet are decoded in one pass."""
        check_indices(len(self), indices)
        found: dict[int, np.ndarray] = {}
        for _, group in itertools.groupby(sorted(set(indices)), key=self._key_place):
            run = set(group)
            for index, frame in self._decode(min(run), max(run) + 1):
                if index in run:
                    found[index] = self._picture(index, frame)
        return [found[index] for index in indices]

    def iterate(self, start: int = 0, stop: int | None = None, step: int = 1) -> Iterator[np.ndarray]:
        """Frames `range(start, stop, step)`, `step` 1 or -1. Backwards, a bounded chunk is decoded at a time."""
        numbers = frame_range(len(self), start, stop, step)
        if step == 1:
            frames = self._decode(numbers.start, numbers.stop) if numbers else ()
            return (self._picture(index, frame) for index, frame in frames)
        return self._backwards(numbers)

    def _backwards(self, numbers: range) -> Iterator[np.ndarray]:
        chunk = max(1, min(64, REVERSE_CHUNK_BYTES // (self.height * self.width * 3)))
        for offset in range(0, len(numbers), chunk):
            part = numbers[offset : offset + chunk]
            frames = [self._picture(index, frame) for index, frame in self._decode(part[-1], part[0] + 1)]
            while frames:
                yield frames.pop()

    def _decode(self, start: int, stop: int) -> Iterator[tuple[int, Any]]:
        """Every decoded frame of `[start, stop)` with its index; frames that can not be decoded are filled in."""
        expected = start
        last: Any = None
        for index, frame in self._good_frames(start):
            if index >= expected:  # a broken stream may show a frame twice
                end = min(index, stop)
                yield from self._fill(expected, end, last if last is not None else frame)
                if index < stop:
                    yield index, frame
                expected = max(end, index + 1)
                if expected >= stop:
                    return
            last = frame
        if last is not None:
            yield from self._fill(expected, stop, last)

    def _fill(self, start: int, stop: int, frame: Any) -> Iterator[tuple[int, Any]]:
        """Repeats `frame` for the broken frames `[start, stop)`."""
        if start < stop:
            broken = f"frame {start}" if stop == start + 1 else f"frames {start} to {stop - 1}"
            warnings.warn(f"{self.name}: {broken} can not be decoded; a neighbouring frame stands in", stacklevel=2)
        for index in range(start, stop):
            yield index, frame

    def _picture(self, index: int, frame: Any) -> np.ndarray:
        """RGB array of frame `index`, of the size of the first one; another size is named once."""
        image = _array(frame, None)
        if image.shape[:2] == (self.height, self.width):
            return image
        if not self._resized:
            self._resized = True
            warnings.warn(
                f"{self.name}: frame {index} is {image.shape[1]} x {image.shape[0]} (width x height), the first frame "
                f"{self.width} x {self.height}; it and all others of another size are resized to that",
                stacklevel=2,
            )
        return _array(frame, (self.height, self.width))

    def _key_place(self, index: int) -> int:
        """Number of the key packet from which frame `index` is decoded, -1 without one."""
        return bisect.bisect_right(self._keys, index) - 1

    def _place(self, mark: int | None) -> int | None:
        """Number of the frame with a time stamp, `None` without one."""
        index = len(self) if mark is None else bisect.bisect_left(self._marks, mark)
        return index if index < len(self) and self._marks[index] == mark else None

    def _good_frames(self, start: int) -> Iterator[tuple[int, Any]]:
        """Decoded frames with their index in rising order, from at or before `start` where one is good."""
        place = self._key_place(start)
        if self._searchable and place > 0:
            reached = False
            for index, frame in self._frames_from(self._offsets[place]):
                # The key packet itself may be broken: then begin at the beginning.
                if not reached and index > start:
                    break
                reached = True
                yield index, frame
            if reached:
                return
        yield from self._frames_from(None)

    def _frames_from(self, offset: int | None) -> Iterator[tuple[int, Any]]:
        """Decodes from the packet at `offset` (in the stream's time base), or from the first packet."""
        with self._open() as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            if offset is not None:
                container.seek(offset, stream=stream, backward=True)
            count = 0
            packets = container.demux(stream)
            while True:
                try:
                    packet = next(packets, None)
                except av.FFmpegError:
                    return  # the rest can not be read; its frames are missing and filled in
                if packet is None:
                    return
                try:
                    frames = packet.decode()
                except av.FFmpegError:
                    continue  # a broken packet; its frame is missing and filled in
                for frame in frames:
                    index = self._place(frame.pts) if self._searchable else count
                    count += 1
                    if index is not None and index < len(self) and not frame.is_corrupt:
                        yield index, frame


def _array(frame: Any, size: tuple[int, int] | None) -> np.ndarray:
    """RGB array of a decoded frame, upright; resized where its height and width are not `size`."""
    quarter_turns = round(frame.rotation / 90) % 4
    lying = quarter_turns % 2
    if size is not None and (frame.height, frame.width) != (size[::-1] if lying else size):
        height, width = size[::-1] if lying else size
        image = frame.reformat(width=width, height=height, format="rgb24").to_ndarray()
    else:
        image = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(image, quarter_turns) if quarter_turns else image)


__all__ = ["VideoFileSource"]
