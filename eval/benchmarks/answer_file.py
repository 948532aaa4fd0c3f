"""What was answered, on disk: one line per unit, only ever appended to, so that a kill costs the unit at work.

Enters: answers of finished units. Leaves: the same answers, in any order, in any later run of the same questions by
the same model. Every process writes `answers-<rank>.jsonl` of its own; all are read. The first line says whose answers
they are, and a run of something else is refused. (Engineering; no paper section.)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from desa2va.eval.line_file import LineWriter, files_of_run, parsed_line, read_header, read_lines
from desa2va.processing.files import read_dataclass

from .questions import Answer

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
        for path in files_of_run(folder, _PATTERN, self.header):
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
            line = parsed_line(path, file.read(length), start)
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
        """Finds the units of a file."""
        for start, line in read_lines(path):
            unit = _unit_of(path, line, start)
            if unit in self._places:
                raise ValueError(
                    f"{path} and {self._places[unit][0].name} both answer unit {unit}; "
                    "remove one of the files, or choose another folder"
                )
            self._places[unit] = path, start, len(line)


class AnswerWriter(LineWriter):
    """The file of one process, open for its next units; a context manager.

    Args:
        folder: of the run. rank: of the process.

    Raises:
        BlockingIOError: another process is answering into it.
    """

    def __init__(self, folder: AnswerFolder, rank: int) -> None:
        super().__init__(folder.folder / f"answers-{rank:05d}.jsonl", folder.header)

    def write(self, unit: int, ids: list[str], answers: list[Answer], seconds: float) -> None:
        """Adds a finished unit."""
        entries = [{"id": name, **asdict(answer)} for name, answer in zip(ids, answers, strict=True)]
        self.append({"unit": unit, "seconds": round(seconds, 4), "answers": entries})


def folder_header(folder: Path) -> dict[str, Any]:
    """The header of a finished run, for scoring without its model.

    Raises:
        FileNotFoundError: the folder holds no answers.
    """
    headers = [header for path in sorted(folder.glob(_PATTERN)) if (header := read_header(path, FORMAT)) is not None]
    if not headers:
        raise FileNotFoundError(f"{folder} holds no answers ({_PATTERN}); run the benchmark without --score-only")
    return headers[0]


def _unit_of(path: Path, line: bytes, start: int) -> int:
    unit = parsed_line(path, line, start).get("unit")
    if type(unit) is not int:
        raise ValueError(f"{path}, byte {start}: a line without its unit; the file is damaged")
    return unit


__all__ = ["AnswerFolder", "AnswerWriter", "folder_header"]
