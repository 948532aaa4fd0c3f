"""What an interactive session knows: its objects, and what was found of each on each frame.

Enters: one `FrameRecord` per object and frame. Leaves: the same, exactly. The records lie in a
temporary file that only grows; in memory there is one number per object and frame. An older state of an object is
therefore an older copy of its numbers, which makes undo exact and cheap (METHOD section 6, Inter-VOS).
"""

from __future__ import annotations

import math
import struct
import tempfile
import zlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from desa2va.processing.files import Code

# predicted IoU, object score, walked backwards, height and width of the logits, length of the pointer
_HEADER = struct.Struct("<ff?xHHH")
_COMPRESSION = 1  # higher levels take ten times as long and save a few per cent


@dataclass
class FrameRecord:
    """One object on one frame.

    Attributes:
        logits: (h, w) fp32 low-resolution mask logits in [-1024, 1024], also where the object scores as absent.
        pointer: (C,) fp32 object pointer.
        iou: predicted IoU in [0, 1]. object_score: logit of presence.
        reverse: the frame was reached walking backwards.
    """

    logits: torch.Tensor
    pointer: torch.Tensor
    iou: float
    object_score: float
    reverse: bool = False

    def to_bytes(self) -> bytes:
        """Header, pointer, and the logits, byte by byte of all, which compresses better."""
        planes = self.logits.cpu().numpy().astype("<f4").view(np.uint8).reshape(-1, 4)
        size = (*self.logits.shape, len(self.pointer))
        return b"".join(
            (
                _HEADER.pack(self.iou, self.object_score, self.reverse, *size),
                self.pointer.cpu().numpy().astype("<f4").tobytes(),
                zlib.compress(planes.T.tobytes(), _COMPRESSION),
            )
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> FrameRecord:
        """Inverse of `to_bytes`.

        Raises:
            ValueError: anything `to_bytes` does not write; nothing larger than the record says is allocated.
        """
        if len(data) < _HEADER.size:
            raise ValueError(f"a record of {len(data)} bytes, which is shorter than its head")
        iou, score, reverse, height, width, length = _HEADER.unpack_from(data)
        start, num_bytes = _HEADER.size + 4 * length, 4 * height * width
        if len(data) < start:
            raise ValueError(f"a record of {len(data)} bytes, which is shorter than its pointer of {length} numbers")
        pointer = np.frombuffer(data, "<f4", length, _HEADER.size).astype(np.float32)
        unpacker = zlib.decompressobj()
        try:
            plain = unpacker.decompress(data[start:], num_bytes + 1)
        except zlib.error as error:
            raise ValueError(f"a record whose mask can not be unpacked ({error})") from error
        if len(plain) != num_bytes or not unpacker.eof or unpacker.unused_data:
            raise ValueError(f"a record whose mask does not fill {height} x {width} pixels")
        planes = np.frombuffer(plain, np.uint8).reshape(4, -1)
        logits = np.ascontiguousarray(planes.T).view("<f4").astype(np.float32).reshape(height, width)
        if not (np.isfinite(logits).all() and np.isfinite(pointer).all() and math.isfinite(iou + score)):
            raise ValueError("a record with numbers that are not finite")
        return cls(torch.from_numpy(logits), torch.from_numpy(pointer), iou, score, reverse)


class RecordStore:
    """Records in a temporary file, by number; the file is gone once it is closed."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="desa2va-session-", buffering=0)  # noqa: SIM115 (lives on)
        self._ends = array("Q")

    def __len__(self) -> int:
        return len(self._ends)

    def append(self, data: bytes) -> int:
        """Stores one record and returns its number.

        Raises:
            OSError: the disk is full. Earlier records stay readable, and storing may be tried again.
        """
        end = self._ends[-1] if self._ends else 0
        rest = memoryview(data)
        try:
            self._file.seek(end)
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise OSError(
                error.errno,
                f"{error.strerror}: the session's temporary file in {tempfile.gettempdir()} can not hold more than "
                f"{end / 1e6:.1f} MB. All {len(self)} finished results stay readable; free some space and go on, or "
                "set TMPDIR to a folder on a larger disk before the next session",
            ) from error
        self._ends.append(end + len(data))
        return len(self) - 1

    def read(self, number: int) -> bytes:
        """The record with this number."""
        start = self._ends[number - 1] if number else 0
        self._file.seek(start)
        parts, missing = [], self._ends[number] - start
        while missing:
            parts.append(self._file.read(missing))
            missing -= len(parts[-1])
        return b"".join(parts)

    def close(self) -> None:
        """Deletes the file; safe to call twice."""
        self._file.close()
        self._ends = array("Q")


class FrameIndex:
    """Frame -> number of its record, for T frames. Copies share their memory until one of them is written."""

    def __init__(self, numbers: np.ndarray) -> None:
        self._numbers, self._shared = numbers, False

    @classmethod
    def empty(cls, num_frames: int) -> FrameIndex:
        """An index without any record."""
        return cls(np.full(num_frames, -1, dtype=np.int32))

    def copy(self) -> FrameIndex:
        """A copy that costs nothing until it or the original is written."""
        twin = FrameIndex(self._numbers)
        self._shared = twin._shared = True
        return twin

    def __contains__(self, frame: int) -> bool:
        return 0 <= frame < len(self._numbers) and self._numbers[frame] >= 0

    def __getitem__(self, frame: int) -> int:
        return int(self._numbers[frame])

    def __setitem__(self, frame: int, number: int) -> None:
        if self._shared:
            self._numbers, self._shared = self._numbers.copy(), False
        self._numbers[frame] = number

    def frames(self) -> Iterator[int]:
        """Frames that have a record, rising."""
        return iter(np.flatnonzero(self._numbers >= 0).tolist())


@dataclass(frozen=True)
class GivenPrompt:
    """What marks an object on one frame: a mask, or clicks and perhaps a box. Immutable, so that states may share it.

    Attributes:
        mask: COCO code of the mask at SAM-2's input size; `None` for clicks.
        points: (x, y, label) in source pixels, in the order given. box: (x0, y0, x1, y1) in source pixels.
        initial: the frame was decoded without memory, because the object had not been tracked to it.
    """

    mask: Code | None = None
    points: tuple[tuple[float, float, int], ...] = ()
    box: tuple[float, float, float, float] | None = None
    initial: bool = True


@dataclass
class ObjectState:
    """One object of a session.

    Attributes:
        object_id: its number. name: the user's name for it, or the phrase of the answer that found it.
        seg_probability: probability of its `[SEG]`; 1 without words. forced: see `ObjectResult`.
        prompts: frame -> what was given there. index: frame -> record.
        forward: first frame that still has to be walked forwards, `None` when all is done. backward: likewise, last
            frame that has to be walked backwards.
        edited: the frame that was prompted or corrected last; of several prompted together the first.
        since: number of the record from which on the object is remembered: the last correction that showed something
            else than the mask it corrected. Older records stay what is reported, and are no memories any more.
        denied: key frame -> object score with which the language pass saw it absent there. It read the words and
            looked at this very frame, the tracker only carries a mask there: reported as absent.
    """

    object_id: int
    name: str | None
    index: FrameIndex
    seg_probability: float = 1.0
    prompts: dict[int, GivenPrompt] = field(default_factory=dict)
    forward: int | None = None
    backward: int | None = None
    edited: int = 0
    since: int = 0
    forced: bool = False
    denied: dict[int, float] = field(default_factory=dict)

    @property
    def waits(self) -> bool:
        """Whether frames wait to be walked."""
        return self.forward is not None or self.backward is not None

    def copy(self) -> ObjectState:
        """An independent state."""
        return replace(self, prompts=dict(self.prompts), index=self.index.copy(), denied=dict(self.denied))


@dataclass(frozen=True)
class SessionObject:
    """One object of a session, as it is now.

    Attributes:
        object_id: its number. name: the user's name, or the phrase of the answer that found it.
        prompted_frames: frames on which it was prompted or corrected, rising.
        pending: whether frames wait for `propagate`.
    """

    object_id: int
    name: str | None
    prompted_frames: list[int]
    pending: bool


__all__ = ["FrameIndex", "FrameRecord", "GivenPrompt", "ObjectState", "RecordStore", "SessionObject"]
