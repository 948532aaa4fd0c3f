"""What was answered, on disk: one line per unit, only ever appended to, so that a kill costs the unit at work.

Enters: answers of finished units. Leaves: the same answers, in any order, in any later run of the same questions by
the same model. Every process writes `answers-<rank>.jsonl` of its own; all are read. The first line says whose answers
they are, and a run of something else is refused. (Engineering; no paper section.)
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from desa2va.processing.files import parse_json, read_dataclass

from .questions import Answer

try:
    import fcntl
except ImportError:  # no such locks on Windows: nobody is kept out there
    fcntl = None

FORMAT = "desa2va answers 1"
_PATTERN = "answers-*.jsonl"


class AnswerFolder:
    """The answers of one run.

    Args:
        folder: exists. identity: what makes the run what it is, plain values; all files must have the same.
        machine: where the answers are made; told in new files, may differ.

    Raises:
        ValueError: a file of another run, a damaged one, or a unit that was answered twice.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any], machine: Mapping[str, Any] | None = None) -> None:
        self.folder = folder
        self.header = json.loads(json.dumps({"format": FORMAT, **identity, "machine": machine}))
        self._places: dict[int, tuple[Path, int, int]] = {}
        for path in sorted(folder.glob(_PATTERN)):
            header = read_header(path)
            if header is not None:
                _check_same(path, header, self.header)
                self._index(path)

    def __contains__(self, unit: int) -> bool:
        return unit in self._places

    def __len__(self) -> int:
        return len(self._places)

    def read(self, unit: int, ids: list[str]) -> tuple[list[Answer], float]:
        """The answers of a finished unit, and the seconds they took.

        Raises:
            ValueError: other samples than `ids`, or a line of another shape; the file is named.
        """
        path, start, length = self._places[unit]
        with path.open("rb") as file:
            file.seek(start)
            line = _parsed(path, file.read(length), start)
        entries, seconds = line.get("answers"), line.get("seconds")
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise ValueError(f"{path}, unit {unit}: 'answers' must be a list of answers; the file is damaged")
        found = [entry.pop("id", None) for entry in entries]
        if found != ids:
            raise ValueError(f"{path}, unit {unit}: answers to {found!r:.80}, expected {ids!r:.80}")
        named = zip(ids, entries, strict=True)
        answers = [read_dataclass(Answer, entry, f"{path}, sample {name}") for name, entry in named]
        return answers, seconds if isinstance(seconds, float | int) else 0.0

    def _index(self, path: Path) -> None:
        """Finds the units of a file; a last line without its end is one that a kill cut off."""
        with path.open("rb") as file:
            start = len(file.readline())
            for line in file:
                if not line.endswith(b"\n"):
                    return
                unit = _unit_of(path, line, start)
                if unit in self._places:
                    raise ValueError(
                        f"{path} and {self._places[unit][0].name} both answer unit {unit}; "
                        "remove one of the files, or choose another folder"
                    )
                self._places[unit] = path, start, len(line)
                start += len(line)


class AnswerWriter:
    """The file of one process, open for its next units; a context manager.

    Args:
        folder: of the run. rank: of the process.

    Raises:
        BlockingIOError: another process is answering into it.
    """

    def __init__(self, folder: AnswerFolder, rank: int) -> None:
        self.path = folder.folder / f"answers-{rank:05d}.jsonl"
        self._file = self.path.open("ab+")
        if fcntl is not None:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                self._file.close()
                raise BlockingIOError(
                    f"another process answers into {self.path}; wait for it to end, or choose another folder"
                ) from error
        self._file.truncate(_whole_lines(self._file))
        if not self._file.seek(0, os.SEEK_END):
            self._append(folder.header)

    def write(self, unit: int, ids: list[str], answers: list[Answer], seconds: float) -> None:
        """Adds a finished unit."""
        entries = [{"id": name, **asdict(answer)} for name, answer in zip(ids, answers, strict=True)]
        self._append({"unit": unit, "seconds": round(seconds, 4), "answers": entries})

    def _append(self, content: dict[str, Any]) -> None:
        self._file.write(json.dumps(content, allow_nan=False).encode() + b"\n")
        self._file.flush()

    def __enter__(self) -> AnswerWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()


def read_header(path: Path) -> dict[str, Any] | None:
    """The first line of an answer file; `None` where a kill cut it off.

    Raises:
        ValueError: it is no answer file of this format.
    """
    with path.open("rb") as file:
        line = file.readline()
    if not line.endswith(b"\n"):
        return None
    header = _parsed(path, line, 0)
    if header.get("format") != FORMAT:
        raise ValueError(f"{path} is no file of {FORMAT!r}; choose another folder")
    return header


def folder_header(folder: Path) -> dict[str, Any]:
    """The header of a finished run, for scoring without its model.

    Raises:
        FileNotFoundError: the folder holds no answers.
    """
    headers = [header for path in sorted(folder.glob(_PATTERN)) if (header := read_header(path)) is not None]
    if not headers:
        raise FileNotFoundError(f"{folder} holds no answers ({_PATTERN}); run the benchmark without --score-only")
    return headers[0]


def _check_same(path: Path, header: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    differing = [key for key in sorted({*own, *header} - {"machine"}) if header.get(key) != own.get(key)]
    if differing:
        told = ", ".join(_told(key, header.get(key), own.get(key)) for key in differing)
        raise ValueError(f"{path} holds answers of another run: {told}; choose another folder with --out")


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


def _unit_of(path: Path, line: bytes, start: int) -> int:
    unit = _parsed(path, line, start).get("unit")
    if type(unit) is not int:
        raise ValueError(f"{path}, byte {start}: a line without its unit; the file is damaged")
    return unit


def _parsed(path: Path, line: bytes, start: int) -> dict[str, Any]:
    try:
        content = parse_json(line.decode("utf-8"), f"{path}, byte {start}")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}, byte {start}: no UTF-8 ({error}); the file is damaged") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}, byte {start}: a line that is no object; the file is damaged")
    return content


def _whole_lines(file: Any) -> int:
    """Bytes up to the end of the last whole line."""
    file.seek(0)
    return sum(len(line) for line in file if line.endswith(b"\n"))


__all__ = ["AnswerFolder", "AnswerWriter", "folder_header", "read_header"]
