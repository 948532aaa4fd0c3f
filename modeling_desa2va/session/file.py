"""An interactive session as one file (METHOD section 6, Inter-VOS).

Enters: the objects of a session and their records. Leaves: a zip file that another process takes up; or, from such a
file, objects and records. The file names the model by the sum of its segmenter's weights and the video by a thumbnail
of three frames, so that neither is mixed up. It holds no code: JSON, numbers, and the records as they are.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from desa2va.modeling_desa2va.segmenter import DeSa2VASegmenter
from desa2va.processing.files import write_file

from .core import SessionCore
from .store import FrameIndex, GivenPrompt, ObjectState

FORMAT, VERSION = "desa2va-session", 1
_HEADER, _LENGTHS, _RECORDS = "session.json", "lengths.npy", "records.bin"
_THUMBNAIL_TOLERANCE = 8  # grey levels, since decoders differ by a few


@dataclass
class SessionFile:
    """A session file that has been opened.

    Attributes:
        path: of the file. header: its JSON part.
    """

    path: Path
    header: dict[str, Any]

    @property
    def video_name(self) -> str:
        """Name of the video, which is its path where it came from one."""
        return self.header["video"]["name"]

    def check(self, segmenter: DeSa2VASegmenter, core: SessionCore) -> None:
        """Raises `ValueError` unless the file was made with this model and this video."""
        about, video = self.header["video"], core.video
        stored = about["width"], about["height"], about["num_frames"]
        given = video.width, video.height, len(video)
        if stored != given:
            raise ValueError(
                f"{self.path} belongs to {about['name']} ({stored[0]} x {stored[1]} pixels, {stored[2]} frames), not "
                f"to {video.name} ({given[0]} x {given[1]} pixels, {given[2]} frames)"
            )
        difference = np.abs(np.subtract(about["thumbnails"], core.thumbnails)).max()
        if difference > _THUMBNAIL_TOLERANCE:
            raise ValueError(f"{self.path} belongs to {about['name']}; {video.name} shows something else")
        if self.header["segmenter"] != _weights_sum(segmenter):
            raise ValueError(
                f"{self.path} was made with another model: the weights of the segmenter differ. Load the model it was "
                "made with, in the same dtype"
            )

    def restore(self, core: SessionCore) -> None:
        """Fills a new session.

        Raises:
            ValueError: the file is broken. OSError: the disk is full.
        """
        with _opened(self.path) as archive:
            with archive.open(_LENGTHS) as part:
                lengths = np.lib.format.read_array(part, allow_pickle=False).tolist()
            with archive.open(_RECORDS) as part:
                for length in lengths:
                    core.memory.store.append(part.read(length))
                part.read()  # only at the end is the check sum compared
            states = [self._object(plain) for plain in self.header["objects"]]
            core.objects = {state.object_id: state for state in states}
            core.next_id = self.header["next_id"]

    def _object(self, plain: dict[str, Any]) -> ObjectState:
        index = FrameIndex.empty(self.header["video"]["num_frames"])
        for frame, number in plain["records"]:
            index[frame] = number
        prompts = {frame: _prompt_of(entry) for frame, entry in plain["prompts"]}
        rest = {name: value for name, value in plain.items() if name not in ("records", "prompts")}
        return ObjectState(**rest, prompts=prompts, index=index)


def write_session(path: str | os.PathLike, segmenter: DeSa2VASegmenter, core: SessionCore, overwrite: bool) -> None:
    """Writes a session beside `path` and moves it there when it is complete.

    Raises:
        FileExistsError: the file exists and `overwrite` is false.
        OSError: it can not be written; nothing is left behind.
    """
    target = Path(path).expanduser()
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target} exists; choose another file or pass overwrite=True")
    header, numbers = _describe(segmenter, core)

    def write(temporary: Path) -> None:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            with archive.open(_RECORDS, "w", force_zip64=True) as part:
                lengths = [part.write(core.memory.store.read(number)) for number in numbers]
            with archive.open(_LENGTHS, "w") as part:
                np.lib.format.write_array(part, np.array(lengths, dtype=np.int64), allow_pickle=False)
            archive.writestr(_HEADER, json.dumps(header))

    try:
        write_file(target, write, overwrite)
    except OSError as error:
        reason = f"{error.strerror or error}: the session was not written to {target}; it goes on unchanged"
        raise type(error)(error.errno, reason) from error


def read_session(path: str | os.PathLike) -> SessionFile:
    """Opens a session file.

    Raises:
        FileNotFoundError: no such file. ValueError: it is broken, or none of ours.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise FileNotFoundError(f"there is no session file at {file}")
    with _opened(file) as archive:
        header = json.loads(archive.read(_HEADER))
        known = header["format"] == FORMAT and header["version"] == VERSION
    if not known:
        raise ValueError(
            f"{file} has format {header['format']!r} version {header['version']!r}; this package reads {FORMAT!r} "
            f"version {VERSION}"
        )
    return SessionFile(file, header)


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive; whatever is wrong with it becomes one `ValueError`."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError, EOFError) as error:
        raise ValueError(f"{path} is no session file, or a broken one ({error}); use another copy") from error


def _describe(segmenter: DeSa2VASegmenter, core: SessionCore) -> tuple[dict[str, Any], list[int]]:
    """The JSON part, and the numbers of the records that are in use, in the order in which they are written."""
    entries, video = [], core.video
    # In the order in which they were made, which decides what is remembered.
    numbers = sorted(state.index[frame] for state in core.objects.values() for frame in state.index.frames())
    place = {number: row for row, number in enumerate(numbers)}
    for state in core.objects.values():
        named = [item.name for item in fields(state) if item.name not in ("prompts", "index")]
        plain = {name: getattr(state, name) for name in named}
        plain["since"] = bisect_left(numbers, state.since)
        plain["records"] = [[frame, place[state.index[frame]]] for frame in state.index.frames()]
        plain["prompts"] = [[frame, asdict(given)] for frame, given in state.prompts.items()]
        entries.append(plain)
    about = {
        "name": video.name,
        "height": video.height,
        "width": video.width,
        "num_frames": len(video),
        "thumbnails": core.thumbnails,
    }
    header = {"format": FORMAT, "version": VERSION, "segmenter": _weights_sum(segmenter), "video": about}
    return {**header, "next_id": core.next_id, "objects": entries}, numbers


def _prompt_of(plain: dict[str, Any]) -> GivenPrompt:
    """Inverse of `asdict`, after JSON."""
    points = tuple((x, y, label) for x, y, label in plain["points"])
    return GivenPrompt(plain["mask"], points, None if plain["box"] is None else tuple(plain["box"]), plain["initial"])


def _weights_sum(segmenter: DeSa2VASegmenter) -> str:
    """SHA-256 of the segmenter's weights as fp32, so that a lossless change of dtype keeps it."""
    digest = hashlib.sha256()
    for name, value in sorted(segmenter.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)}".encode())
        digest.update(value.detach().float().cpu().contiguous().numpy())
    return digest.hexdigest()


__all__ = ["SessionFile", "read_session", "write_session"]
