"""JSON lines that are only ever appended to, so that a kill costs the line at work: what resumable runs stand on.

The first line says whose lines they are, and a run of something else is refused; a last line without its end is one
that a kill or a full disk cut off. (Engineering; no paper section.)
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from desa2va.processing.files import parse_json

try:
    import fcntl
except ImportError:  # no such locks on Windows: nobody is kept out there
    fcntl = None


class LineWriter:
    """The file of one process, open for its next lines; a context manager.

    Args:
        path: of the file. header: its first line, where it has none yet.

    Raises:
        BlockingIOError: another process is writing into it.
    """

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        self.path = path
        self._file = path.open("ab+")
        if fcntl is not None:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                self._file.close()
                raise BlockingIOError(
                    f"another process answers into {path}; wait for it to end, or choose another folder"
                ) from error
        self._file.truncate(_whole_lines(self._file))
        if not self._file.seek(0, os.SEEK_END):
            self.append(header)

    def append(self, content: Mapping[str, Any]) -> None:
        """Adds a line; it is with the system when this returns.

        Raises:
            OSError: the disk is full. Earlier lines stay, and what was written of this one goes when the file is
                opened again.
        """
        self._file.write(json.dumps(content, allow_nan=False).encode() + b"\n")
        self._file.flush()

    def __enter__(self) -> LineWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()


def read_header(path: Path, format_name: str) -> dict[str, Any] | None:
    """The first line of a file; `None` where a kill cut it off.

    Raises:
        ValueError: it is no file of this format.
    """
    with path.open("rb") as file:
        line = file.readline()
    if not line.endswith(b"\n"):
        return None
    header = parsed_line(path, line, 0)
    if header.get("format") != format_name:
        raise ValueError(f"{path} is no file of {format_name!r}; choose another folder")
    return header


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Place and bytes of every whole line after the first."""
    with path.open("rb") as file:
        start = len(file.readline())
        for line in file:
            if not line.endswith(b"\n"):
                return
            yield start, line
            start += len(line)


def parsed_line(path: Path, line: bytes, start: int) -> dict[str, Any]:
    """A line's object.

    Raises:
        ValueError: it is none; the file and the byte are named.
    """
    try:
        content = parse_json(line.decode("utf-8"), f"{path}, byte {start}")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}, byte {start}: no UTF-8 ({error}); the file is damaged") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}, byte {start}: a line that is no object; the file is damaged")
    return content


def check_same(path: Path, header: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Raises `ValueError` where a file's header is that of another run; `machine` may differ."""
    differing = [key for key in sorted({*own, *header} - {"machine"}) if header.get(key) != own.get(key)]
    if differing:
        told = ", ".join(_told(key, header.get(key), own.get(key)) for key in differing)
        raise ValueError(f"{path} holds answers of another run: {told}; choose another folder with --out")


def files_of_run(folder: Path, pattern: str, own: Mapping[str, Any]) -> list[Path]:
    """The files of a run's processes, in order; those without a whole header hold nothing.

    Args:
        folder: of the run. pattern: of the files' names. own: the run's header.

    Raises:
        ValueError: a file of another format or another run.
    """
    found = []
    for path in sorted(folder.glob(pattern)):
        header = read_header(path, own["format"])
        if header is not None:
            check_same(path, header, own)
            found.append(path)
    return found


def _told(key: str, theirs: Any, ours: Any) -> str:
    """What differs; of an object the first entry that does."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        key, theirs, ours = next(
            (f"{key}.{name}", theirs.get(name), ours.get(name))
            for name in sorted({*theirs, *ours})
            if theirs.get(name) != ours.get(name)
        )
    return f"{key} is {_short(theirs)}, not {_short(ours)}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _whole_lines(file: Any) -> int:
    """Bytes up to the end of the last whole line."""
    file.seek(0)
    return sum(len(line) for line in file if line.endswith(b"\n"))


__all__ = ["LineWriter", "check_same", "files_of_run", "parsed_line", "read_header", "read_lines"]
