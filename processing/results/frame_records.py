"""Frame results on disk while they are made: one line of JSON per frame, in order of arrival.

In: `FrameResult`s. Out: a file that always holds whole lines, and any of its frames again, in any order. Memory holds
the place of each frame and a few numbers per object, so the length of the video does not matter (results of METHOD
section 6).
"""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import TracebackType

from desa2va.processing.files import MaskOptions, parse_json

from .frame_results import FrameObject, FrameResult
from .statuses import object_status, presence_logit

MAX_LINE_BYTES = 2**28  # of one frame


@dataclass
class ObjectSummary:
    """One object over the frames seen so far.

    Attributes:
        object_id: its number, as `phrase`, `request`, `seg_probability`, `forced`, `target_score` and `agreement`
            taken from its first frame.
        num_frames: frames with a mask.
        largest: the object where its mask is largest; of equal ones on the lowest frame.
        largest_frame: number of that frame.
        present: whether any frame has it present by its object score.
        best_score: highest object score in [0, 1], and the lowest frame that has it.
    """

    object_id: int
    phrase: str | None
    request: int
    seg_probability: float
    num_frames: int = 0
    largest: FrameObject | None = None
    largest_frame: int = 0
    present: bool = False
    best_score: tuple[float, int] = (-1.0, 0)
    forced: bool = False
    target_score: float | None = None
    agreement: float | None = None

    def add(self, entry: FrameObject, frame: int) -> None:
        """Takes one more frame into account."""
        area = entry.area
        self.num_frames += area > 0
        self.present |= entry.status != "no_target"
        known = (0 if self.largest is None else self.largest.area, -self.largest_frame)
        if self.largest is None or (area, -frame) > known:
            self.largest, self.largest_frame = entry, frame
        if (entry.object_score, -frame) > (self.best_score[0], -self.best_score[1]):
            self.best_score = entry.object_score, frame

    def status(self, options: MaskOptions) -> tuple[str, str]:
        """Status and reason of the object, as in `ObjectResult`, with the options its frames were made with."""
        best = presence_logit(self.best_score[0]), self.best_score[1]
        return object_status(self.present, self.num_frames > 0, best, options, self.forced, self.target_score)


class FrameRecords:
    """A file of frame results that grows.

    A write that fails (full disk) leaves the lines before it whole. Use as a context manager.

    Args:
        path: the file; must not exist.

    Attributes:
        objects: number -> what is known of it. options: those the first frame was made with.

    Raises:
        FileExistsError: it exists.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
        # Unbuffered: what `append` has returned from is on disk, and nothing half-written waits in memory.
        self._file = open(self.path, "x+b", buffering=0)  # noqa: SIM115 - closed by `close`
        self._reader = open(self.path, "rb")  # noqa: SIM115 - closed by `close`
        self._end = 0
        # By frame number: the place of its line, -1 where there is none yet.
        self._places = array("q")
        self.objects: dict[int, ObjectSummary] = {}
        self.options = MaskOptions().completed()

    def __len__(self) -> int:
        return len(self._places) - self._places.count(-1)

    def __contains__(self, frame: int) -> bool:
        return 0 <= frame < len(self._places) and self._places[frame] >= 0

    def append(self, result: FrameResult) -> None:
        """Writes one more frame.

        Raises:
            ValueError: the frame is there already.
            OSError: it can not be written.
        """
        if result.frame in self:
            raise ValueError(f"{self.path}: frame {result.frame} is there already")
        line = json.dumps(result.to_dict(), ensure_ascii=False).encode("utf-8") + b"\n"
        try:
            self._file.seek(self._end)
            rest = memoryview(line)
            while rest:
                rest = rest[self._file.write(rest) :]
        except BaseException:
            self._file.truncate(self._end)
            raise
        self._places.extend([-1] * (result.frame + 1 - len(self._places)))
        self.options = result.options if not self._end else self.options
        self._places[result.frame] = self._end
        self._end += len(line)
        for entry in result.objects:
            known = self.objects.get(entry.object_id)
            if known is None:
                known = ObjectSummary(entry.object_id, entry.phrase, entry.request, entry.seg_probability)
                known.forced, known.target_score, known.agreement = entry.forced, entry.target_score, entry.agreement
                self.objects[entry.object_id] = known
            known.add(entry, result.frame)

    def read(self, frame: int) -> FrameResult:
        """The result of one frame.

        Raises:
            KeyError: it was never written.
        """
        if frame not in self:
            raise KeyError(frame)
        self._reader.seek(self._places[frame])
        return FrameResult.from_dict(parse_json(self._reader.readline(), str(self.path)))

    def __iter__(self) -> Iterator[FrameResult]:
        """All frames, by rising number."""
        return (self.read(frame) for frame in range(len(self._places)) if frame in self)

    def close(self) -> None:
        """Ends writing and reading."""
        self._file.close()
        self._reader.close()

    def __enter__(self) -> FrameRecords:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_frame_results(path: str | os.PathLike) -> Iterator[FrameResult]:
    """The frame results of a file that `FrameRecords` wrote, one by one, in the order of the file.

    Raises:
        FileNotFoundError: no such file. ValueError: a line is no frame result, or a frame comes twice; its number is
            named.
    """
    name, seen = os.fspath(path), set()
    if not os.path.isfile(path):
        raise FileNotFoundError(f"there is no file {name}")
    with open(path, "rb") as lines:
        for number in count(1):
            line = lines.readline(MAX_LINE_BYTES + 1)
            if not line:
                return
            where = f"{name}: line {number}"
            if len(line) > MAX_LINE_BYTES:
                raise ValueError(f"{where} has more than {MAX_LINE_BYTES} bytes, which is refused")
            try:
                result = FrameResult.from_dict(parse_json(line, "the line"))
            except ValueError as error:
                raise ValueError(f"{where} is no frame result: {error}") from error
            if result.frame in seen:
                raise ValueError(f"{where}: frame {result.frame} comes twice")
            seen.add(result.frame)
            yield result


__all__ = ["FrameRecords", "ObjectSummary", "read_frame_results"]
