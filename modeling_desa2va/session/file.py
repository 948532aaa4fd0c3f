"""An interactive session as one file (METHOD section 6, Inter-VOS).

Enters: the objects of a session and their records. Leaves: a zip file that another process takes up; or, from such a
file, objects and records. The file names the model by the sum of its segmenter's weights and the video by a thumbnail
of three frames, so that neither is mixed up. It holds no code: JSON, numbers, and the records as they are.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import struct
import zipfile
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from desa2va.modeling_desa2va.devices import whole_state_dict
from desa2va.modeling_desa2va.segmenter import DeSa2VASegmenter
from desa2va.processing.files import Code, MaskOptions, frame_codes, mask_area, parse_json, write_file

from .core import SessionCore
from .header import FORMAT, VERSION, ObjectEntry, SessionHeader, check_objects, read_header
from .store import FrameIndex, FrameRecord, ObjectState

_HEADER, _LENGTHS, _RECORDS = "session.json", "lengths.npy", "records.bin"
_MAX_HEADER = 2**26
# As numpy writes it; what numpy would read asks for memory first and looks for the numbers then.
_NPY_HEAD = re.compile(rb"\{'descr': '<i8', 'fortran_order': False, 'shape': \((\d{1,12}),\), \}\s*$")
# What zipfile raises where a file is none, is encrypted, or names places that do not exist.
_BROKEN = (
    zipfile.BadZipFile,
    ArithmeticError,
    EOFError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)
_THUMBNAIL_TOLERANCE = 8  # grey levels, since decoders differ by a few


@dataclass
class SessionFile:
    """A session file that has been opened.

    Attributes:
        path: of the file. header: its JSON part.
    """

    path: Path
    header: SessionHeader

    @property
    def video_name(self) -> str:
        """Name of the video, which is its path where it came from one."""
        return self.header.video.name

    def check(self, segmenter: DeSa2VASegmenter, core: SessionCore) -> None:
        """Raises `ValueError` unless the file was made with this model and this video."""
        about, video = self.header.video, core.video
        stored = about.width, about.height, about.num_frames
        given = video.width, video.height, len(video)
        if stored != given:
            raise ValueError(
                f"{self.path} belongs to {about.name} ({stored[0]} x {stored[1]} pixels, {stored[2]} frames), not "
                f"to {video.name} ({given[0]} x {given[1]} pixels, {given[2]} frames)"
            )
        difference = np.abs(np.subtract(about.thumbnails, core.thumbnails)).max()
        if difference > _THUMBNAIL_TOLERANCE:
            raise ValueError(f"{self.path} belongs to {about.name}; {video.name} shows something else")
        if self.header.segmenter != _weights_sum(segmenter):
            raise ValueError(
                f"{self.path} was made with another model: the weights of the segmenter differ. Load the model it was "
                "made with, in the same dtype"
            )

    def codes(self, options: MaskOptions | None = None) -> dict[int, tuple[Code | None, ...]]:
        """The masks of every object, one per frame of the video; `None` where it is not seen. Needs no model.

        Args:
            options: how logits become masks; SAM-2's rules where they leave a choice.

        Raises:
            ValueError: the file is broken.
        """
        options = (MaskOptions() if options is None else options).completed()
        size = self.header.video.height, self.header.video.width
        places = {
            number: (row, frame) for row, entry in enumerate(self.header.objects) for frame, number in entry.records
        }
        found = [[None] * self.header.video.num_frames for _ in self.header.objects]
        with _opened(self.path) as archive:
            lengths = _read_lengths(archive)
            check_objects(self.header, len(lengths), None)
            with archive.open(_RECORDS) as part:
                for number, length in enumerate(lengths):
                    record = FrameRecord.from_bytes(part.read(length))
                    row, frame = places[number]
                    score = self.header.objects[row].score_on(frame, record.object_score)
                    present = score > options.object_score_threshold
                    (code,) = frame_codes(record.logits[None], [present], size, options)
                    found[row][frame] = code if mask_area(code) else None
                part.read()  # only at the end is the check sum compared
        return {entry.object_id: tuple(track) for entry, track in zip(self.header.objects, found, strict=True)}

    def restore(self, core: SessionCore) -> None:
        """Fills a new session; everything is checked before it is built.

        Raises:
            ValueError: the file is broken. OSError: the disk is full.
        """
        sam = core.memory.sam
        shape = *sam.prompt_encoder.mask_input_size, sam.config.prompt_encoder_config.hidden_size
        with _opened(self.path) as archive:
            lengths = _read_lengths(archive)
            check_objects(self.header, len(lengths), sam.image_size)
            with archive.open(_RECORDS) as part:
                for number, length in enumerate(lengths):
                    data = part.read(length)
                    record = FrameRecord.from_bytes(data)
                    if (*record.logits.shape, len(record.pointer)) != shape:
                        raise ValueError(f"record {number} is not of this model's size")
                    core.memory.store.append(data)
                part.read()  # only at the end is the check sum compared
        core.objects = {entry.object_id: self._object(entry) for entry in self.header.objects}
        core.next_id = self.header.next_id

    def _object(self, entry: ObjectEntry) -> ObjectState:
        index = FrameIndex.empty(self.header.video.num_frames)
        for frame, number in entry.records:
            index[frame] = number
        named = [item.name for item in fields(ObjectState) if item.name not in ("prompts", "index", "denied")]
        rest = {name: getattr(entry, name) for name in named}
        return ObjectState(**rest, prompts=dict(entry.prompts), index=index, denied=dict(entry.denied))


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
        num_bytes = archive.getinfo(_HEADER).file_size
        # One longer than that needs as many bytes of records, which are longer than what the header says of them.
        if num_bytes > _MAX_HEADER and num_bytes > _MAX_HEADER + archive.getinfo(_RECORDS).file_size:
            raise ValueError(f"its header has {num_bytes} bytes, more than its records explain")
        return SessionFile(file, read_header(parse_json(archive.read(_HEADER), "its header")))


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive, whose parts are no larger than the file; whatever is wrong with it becomes one `ValueError`.

    Parts that are compressed or encrypted are refused: ours are not, and they could ask for any memory.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                plain = entry.compress_type == zipfile.ZIP_STORED and not entry.flag_bits & 1
                if not plain or entry.compress_size != entry.file_size or entry.file_size > path.stat().st_size:
                    raise ValueError(f"its part {entry.filename!r:.40} is compressed, encrypted or cut off")
            yield archive
    except OSError as error:
        if error.errno != errno.EINVAL:  # a place before the beginning of the file, as only a broken one names
            raise
        raise ValueError(f"{path} is no session file, or a broken one ({error}); use another copy") from error
    except _BROKEN as error:
        raise ValueError(f"{path} is no session file, or a broken one ({error}); use another copy") from error


def _read_lengths(archive: zipfile.ZipFile) -> list[int]:
    """Bytes of every record; their sum is the size of the part that holds them."""
    with archive.open(_LENGTHS) as part:
        start = part.read(10)
        head = part.read(int.from_bytes(start[8:], "little"))
        found = _NPY_HEAD.match(head)
        values = part.read()
    if start[:8] != b"\x93NUMPY\x01\x00" or found is None or len(values) != 8 * int(found[1]):
        raise ValueError(f"its part {_LENGTHS} is no list of integers")
    lengths, total = np.frombuffer(values, "<i8").tolist(), archive.getinfo(_RECORDS).file_size
    if min(lengths, default=0) < 0 or sum(lengths) != total:
        raise ValueError(f"its records have other lengths than the {total} bytes they take")
    return lengths


def _describe(segmenter: DeSa2VASegmenter, core: SessionCore) -> tuple[dict[str, Any], list[int]]:
    """The JSON part, and the numbers of the records that are in use, in the order in which they are written."""
    entries, video = [], core.video
    # In the order in which they were made, which decides what is remembered.
    numbers = sorted(state.index[frame] for state in core.objects.values() for frame in state.index.frames())
    place = {number: row for row, number in enumerate(numbers)}
    for state in core.objects.values():
        named = [item.name for item in fields(state) if item.name not in ("prompts", "index", "denied")]
        plain = {name: getattr(state, name) for name in named}
        plain["since"] = bisect_left(numbers, state.since)
        plain["records"] = [[frame, place[state.index[frame]]] for frame in state.index.frames()]
        plain["denied"] = [list(pair) for pair in state.denied.items()]
        plain["prompts"] = [[frame, asdict(given)] for frame, given in state.prompts.items()]
        entries.append(plain)
    about = {
        "name": video.name.encode("utf-8", "backslashreplace").decode("utf-8"),
        "height": video.height,
        "width": video.width,
        "num_frames": len(video),
        "thumbnails": core.thumbnails,
    }
    header = {"format": FORMAT, "version": VERSION, "segmenter": _weights_sum(segmenter), "video": about}
    return {**header, "next_id": core.next_id, "objects": entries}, numbers


def _weights_sum(segmenter: DeSa2VASegmenter) -> str:
    """SHA-256 of the segmenter's weights as fp32, so that a lossless change of dtype keeps it."""
    digest = hashlib.sha256()
    for name, value in sorted(whole_state_dict(segmenter).items()):
        digest.update(f"{name} {tuple(value.shape)}".encode())
        digest.update(value.detach().float().cpu().contiguous().numpy())
    return digest.hexdigest()


__all__ = ["SessionFile", "read_session", "write_session"]
