"""What was answered, on disk: one line per group of answers that were finished together, only ever appended to.

Enters: answers of finished steps. Leaves: the same, in any later run of the same masklets by the same describers.
Every process writes `answers-<rank>.jsonl` of its own; all are read. (Engineering; no paper section.)
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from desa2va.eval.line_file import LineWriter, files_of_run, parsed_line, read_lines
from desa2va.processing.files import read_dataclass

from .stages import LAST_NEEDED, STEPS

FORMAT = "desa2va annotation 1"
_PATTERN = "answers-*.jsonl"
Key = tuple[str, str]


def spent_tokens(folder: Path) -> tuple[int, int]:
    """Tokens of requests and of answers that a run has cost so far, whoever was asked."""
    lines = [parsed_line(path, line, start) for path in folder.glob(_PATTERN) for start, line in read_lines(path)]
    requests, answers = ([line.get("tokens", (0, 0))[place] for line in lines] for place in (0, 1))
    return sum(requests), sum(answers)


@dataclass(frozen=True)
class Said:
    """One answer of one step.

    Attributes:
        video, object: of the masklet. text: what is kept. frames: numbers of the video's frames that were shown.
        dropped: why the masklet (of `short`: its short expression) is dropped; `None`: it goes on.
    """

    video: str
    object: str
    text: str
    frames: list[int]
    dropped: str | None = None


class Answers:
    """All answers of a run.

    Args:
        folder: exists. identity: what makes the run what it is, plain values; all files must have the same.

    Raises:
        ValueError: a file of another run, a damaged one, or a step that was answered twice.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self.folder = folder
        self.header = json.loads(json.dumps({"format": FORMAT, **identity}))
        self.tokens = [0, 0]
        self._said: dict[Key, dict[str, Said]] = {}
        for path in files_of_run(folder, _PATTERN, self.header):
            for start, line in read_lines(path):
                self._read(path, start, parsed_line(path, line, start))

    def of(self, key: Key) -> dict[str, Said]:
        """What was answered about a masklet, by step."""
        return self._said.get(key, {})

    def texts(self, key: Key) -> dict[str, str]:
        """The texts that were kept, by step."""
        return {step: said.text for step, said in self.of(key).items() if said.dropped is None}

    def dropped(self, key: Key) -> str | None:
        """`"step: reason"` where the masklet was dropped."""
        found = [f"{step}: {said.dropped}" for step, said in self.of(key).items() if said.dropped and needed(step)]
        return found[0] if found else None

    def next_step(self, key: Key) -> str | None:
        """The first step without an answer; `None` where nothing more is to be asked."""
        if self.dropped(key):
            return None
        return next((step for step in STEPS if step not in self.of(key)), None)

    def add(self, step: str, said: Said) -> None:
        """Remembers an answer.

        Raises:
            ValueError: the step has one.
        """
        steps = self._said.setdefault((said.video, said.object), {})
        if step in steps:
            raise ValueError(f"{said.video}, object {said.object}: {step} is answered twice")
        steps[step] = said

    def _read(self, path: Path, start: int, line: dict[str, Any]) -> None:
        step, entries = line.get("step"), line.get("said")
        if step not in STEPS or not isinstance(entries, list):
            raise ValueError(f"{path}, byte {start}: a line without step and answers; the file is damaged")
        for entry in entries:
            try:
                self.add(step, read_dataclass(Said, entry, f"{path}, byte {start}"))
            except ValueError as error:
                raise ValueError(f"{path}: {error}; remove the file, or choose another folder") from error
        self.tokens = [before + more for before, more in zip(self.tokens, line.get("tokens", (0, 0)), strict=True)]


class AnswersWriter(LineWriter):
    """The file of one process; a context manager.

    Args:
        answers: of the run; what is written is remembered there. rank: of the process.

    Raises:
        BlockingIOError: another process is writing into it.
    """

    def __init__(self, answers: Answers, rank: int) -> None:
        super().__init__(answers.folder / f"answers-{rank:05d}.jsonl", answers.header)
        self.answers = answers

    def write(self, step: str, said: Sequence[Said], tokens: tuple[int, int]) -> None:
        """Adds answers that were finished together, and the tokens they cost."""
        self.append({"step": step, "said": [asdict(entry) for entry in said], "tokens": list(tokens)})
        for entry in said:
            self.answers.add(step, entry)


def needed(step: str) -> bool:
    """Whether a masklet is dropped where this step's answer is."""
    return STEPS.index(step) <= STEPS.index(LAST_NEEDED)


__all__ = ["Answers", "AnswersWriter", "Said", "needed", "spent_tokens"]
