"""What a benchmark asks and what comes back: plain values, so that answers can be kept and scored another time.

Enters: a published set. Leaves: its questions, answers to them, and what of a benchmark a name stands for; `plan` puts
the questions in order. (Engineering; the measures are those of paper section 4.1.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from desa2va.processing.files import check_code, decode_mask
from desa2va.training.data.records import Code, Dialogue, Record
from desa2va.training.data.sources import open_source

FAILED = "failed"
WORDING = 'processor(task="segment"): "Please segment {}.", questions and requests as they are'


@dataclass(frozen=True)
class Question:
    """One sample of a benchmark.

    Attributes:
        id: unique within the benchmark, e.g. `"<video>/<exp_id>"`.
        record: its picture or video. dialogue: what is asked about it, with the true masks.
        prompt: what the user says, complete.
    """

    id: str
    record: Record
    dialogue: Dialogue
    prompt: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """(frames, height, width) of its masks."""
        return (self.record.num_frames, *self.record.size)

    def truth(self) -> np.ndarray:
        """Bool `(T, H, W)`: all that is meant, united; empty where nothing fits."""
        return self.record.masks(self.dialogue).any(axis=0) if self.dialogue.targets else np.zeros(self.shape, bool)

    def ignored(self) -> np.ndarray | None:
        """Bool `(T, H, W)` of the pixels that count for nothing, `None` without any."""
        codes = [target.ignored for target in self.dialogue.targets if target.ignored]
        return unite(codes, self.shape) if codes else None


@dataclass(frozen=True)
class AnsweredObject:
    """One object of an answer.

    Attributes:
        codes: for each frame the mask as run-length code, `None` where it is empty.
        iou_scores, object_scores: as in `ObjectResult`. phrase: what the answer calls it, where it does.
    """

    codes: tuple[Code | None, ...]
    iou_scores: tuple[float, ...]
    object_scores: tuple[float, ...]
    phrase: str | None = None


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
        status: as in `SegmentationResult`, or `"failed"`: no answer came, which counts as an empty one.
        reason: why the status is not `"ok"`. text: the answer in words, with its `[SEG]`. objects: in order.
        owned: where answers compete for pixels, for each frame the code of those that this one has, `None` where it
            has none. `None` in all: that was not decided when the answer came.
    """

    status: str
    reason: str = ""
    text: str = ""
    objects: tuple[AnsweredObject, ...] = ()
    owned: tuple[Code | None, ...] | None = None

    def mask(self, question: Question) -> np.ndarray:
        """Bool `(T, H, W)`: all objects united.

        Raises:
            ValueError: masks of another number of frames or another size than the question's.
        """
        self._check(question)
        return unite([entry.codes for entry in self.objects], question.shape)

    def object_masks(self, question: Question) -> list[np.ndarray]:
        """Bool `(T, H, W)` of each object; raises as `mask`."""
        self._check(question)
        return [unite([entry.codes], question.shape) for entry in self.objects]

    def _check(self, question: Question) -> None:
        num_frames, *size = question.shape
        for place, entry in enumerate(self.objects):
            lengths = [len(column) for column in (entry.codes, entry.iou_scores, entry.object_scores)]
            if lengths != [num_frames] * 3:
                raise ValueError(
                    f"sample {question.id}: object {place} has masks and scores of {lengths} frames, not {num_frames}"
                )
            _check_codes(entry.codes, tuple(size), f"sample {question.id}: object {place}")
        if self.owned is not None:
            if len(self.owned) != num_frames:
                raise ValueError(f"sample {question.id}: 'owned' has {len(self.owned)} frames, not {num_frames}")
            _check_codes(self.owned, tuple(size), f"sample {question.id}: 'owned'")


def _check_codes(codes: Sequence[Code | None], size: tuple[int, int], where: str) -> None:
    for frame, code in enumerate(codes):
        if code is not None:
            try:
                check_code(code, size)
            except ValueError as error:
                raise ValueError(f"{where}, frame {frame}: {error}") from error


class Scores(Protocol):
    """Collects answered questions and computes the figures of a benchmark."""

    def add(self, question: Question, answer: Answer) -> dict[str, Any]:
        """Score one sample; returns its own values, plain."""

    def figures(self) -> dict[str, Any]:
        """The figures of all samples, plain."""


class Submission(Protocol):
    """A file for a benchmark's server: its name, how it is written, and how many `counted` things it holds."""

    file: str
    counted: str

    def write(self, path: Path, answered: Iterable[tuple[Question, Answer]]) -> None:
        """Write it, complete or not at all."""

    def check(self, path: Path, questions: Iterable[Question]) -> int:
        """Look through it; returns the count, raises `ValueError` where it is wrong."""


@dataclass(frozen=True)
class Benchmark:
    """What is asked and how it is scored.

    Attributes:
        name: as in `names`: data set, whose split, where there are several, and split. options: of the reader.
        protocol: what the figures are, for the report.
        id_names: those of `Dialogue.ids` that together name a sample; without any the record's name and a number do.
        scores: from the data folder to a fresh `Scores`; `None` where the truth is not public.
        wording: what is said where no prompt is given, for the report.
        submission: what its server scores; `None` without a server.
        masks: whether masks are scored; else words alone are.
        whole_records: a limit counts records and cuts none in two.
        asks: from a `ModelAnswerer` to who asks it in a way of its own; `None`: it is asked as it is.
        rivals: that of `Dialogue.ids` by which questions about a record compete for its pixels: all with one value are
            answered together. `None`: each question stands alone.
        unit: of the figures: `"fraction"`, `"percent"`, or `"points"` of the benchmark's own.
    """

    name: str
    protocol: str
    id_names: tuple[str, ...]
    scores: Callable[[Path], Scores] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    wording: str = WORDING
    submission: Submission | None = None
    masks: bool = True
    whole_records: bool = False
    asks: Callable[[Any], Any] | None = None
    rivals: str | None = None
    unit: str = "fraction"

    @property
    def dataset(self) -> str:
        """The data set's name, as its reader is called."""
        return self.name.split("-")[0]

    @property
    def split(self) -> str:
        """Of the data set."""
        return self.name.rpartition("-")[2]

    def records(self, root: Path) -> Sequence[Record]:
        """All records of the split.

        Args:
            root: the folder of all published sets.

        Raises:
            FileNotFoundError, ValueError: the set is not there, or some of its records are wrong; no score leaves them
                out.
        """
        source = open_source(self.dataset, root=root, split=self.split, **self.options)
        return replace(source, published=False).records()  # a training may leave rows out

    def described(self, root: Path) -> Sequence[Record]:
        """Records with several expressions about a picture or video where there are any; see `records`."""
        return self.records(root)

    def identify(self, record: Record, place: int) -> str:
        """The id of a dialogue of a record."""
        ids = record.dialogues[place].ids
        return "/".join(str(ids[name]) for name in self.id_names) if self.id_names else f"{record.name}/{place}"


def unite(tracks: Sequence[Sequence[Code | None]], shape: tuple[int, int, int]) -> np.ndarray:
    """Bool `(T, H, W)`: every pixel that any of the tracks of codes covers."""
    united = np.zeros(shape, bool)
    for track in tracks:
        for frame, code in enumerate(track):
            if code is not None:
                united[frame] |= decode_mask(code)
    return united


__all__ = [
    "FAILED",
    "WORDING",
    "Answer",
    "AnsweredObject",
    "Benchmark",
    "Question",
    "Scores",
    "Submission",
    "unite",
]
