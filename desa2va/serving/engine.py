"""One model, one thread, a bounded line in front of it.

What enters: questions about pictures, and other work (a frame of a video). What leaves: futures. Questions that wait
at the same moment go through the model as one batch; a picture that was asked about before is not encoded again. Work
on a video comes frame by frame, each frame at the end of the line, so that a long video holds nobody up.
(Engineering; no paper section.)
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from desa2va.modeling_desa2va.remembered import EncodingCache
from desa2va.processing.files import MaskOptions
from desa2va.processing.results import SegmentationResult


class QueueFullError(RuntimeError):
    """The line is full. `seconds`: after which there should be room."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"{seconds}")
        self.seconds = seconds


class StoppedError(RuntimeError):
    """The engine has ended."""


@dataclass(frozen=True)
class Question:
    """Texts about one picture.

    Attributes:
        image: uint8 (H, W, 3). texts: asked about it; `None` with prompts alone. task: see `DeSa2VAProcessor`.
        prompts: `points`, `boxes`, `masks` of the processor. max_new_tokens: longest answer.
    """

    image: np.ndarray
    texts: list[str] | None
    task: str = "segment"
    prompts: dict[str, Any] = field(default_factory=dict)
    max_new_tokens: int = 128

    @property
    def rows(self) -> int:
        """Sequences it adds to a batch."""
        return len(self.texts or [None])

    def joins(self, other: Question) -> bool:
        """Whether both can be answered in one batch."""
        plain = not self.prompts and not other.prompts and self.texts and other.texts
        return bool(plain) and self.max_new_tokens == other.max_new_tokens


@dataclass(frozen=True)
class Answered:
    """The answer to a `Question`.

    Attributes:
        results: one per text. queued, computed: seconds. batch: questions that were answered together.
        encoded, reused: encodings made, and found in memory, for the whole batch.
    """

    results: list[SegmentationResult]
    queued: float
    computed: float
    batch: int
    encoded: int
    reused: int


@dataclass
class _Work:
    """Something that waits: a question, or a call."""

    what: Question | Callable[[], Any]
    future: Future
    since: float = field(default_factory=time.monotonic)


class Engine:
    """Answers questions and does other work with one model, one piece after the other.

    Args:
        model: a `DeSa2VAModel` in eval mode, whose weights do not change. processor: its `DeSa2VAProcessor`.
        queue: most pieces of work that wait. batch: most sequences in one pass. cache_bytes: of `EncodingCache`.

    Attributes:
        model, processor: as above. cache: the encodings of pictures. num_batches: passes of questions through the
            model. num_questions: answered in them.
    """

    def __init__(self, model: Any, processor: Any, queue: int = 64, batch: int = 8, cache_bytes: int = 2**30) -> None:
        self.model, self.processor = model, processor
        self.cache = EncodingCache(cache_bytes)
        self.num_batches = self.num_questions = 0
        self._queue, self._batch = queue, batch
        self._waiting: deque[_Work] = deque()
        self._changed = threading.Condition()
        self._seconds = 1.0  # of one piece of work, a moving mean
        self._stopped = False
        self._thread = threading.Thread(target=self._serve, name="desa2va-engine", daemon=True)
        self._thread.start()

    @property
    def depth(self) -> int:
        """Pieces of work that wait."""
        with self._changed:
            return len(self._waiting)

    @property
    def alive(self) -> bool:
        """Whether work is being done."""
        return self._thread.is_alive() and not self._stopped

    def ask(self, question: Question) -> Future:
        """The `Answered` of a question, once it is there.

        Raises:
            QueueFullError: the line is full. StoppedError: nothing is done any more.
        """
        return self._enqueue(question, bounded=True)

    def call(self, work: Callable[[], Any], bounded: bool = True) -> Future:
        """What `work` returns, called in the model's thread.

        Args:
            work: a call. bounded: refuse it where the line is full; what was begun goes on without.

        Raises:
            QueueFullError, StoppedError: see `ask`.
        """
        return self._enqueue(work, bounded)

    def close(self) -> None:
        """Ends after the piece of work at hand; what waits gets `StoppedError`. Safe to call twice."""
        with self._changed:
            self._stopped = True
            left, self._waiting = list(self._waiting), deque()
            self._changed.notify_all()
        for work in left:
            if work.future.set_running_or_notify_cancel():
                work.future.set_exception(StoppedError("the service is ending"))
        self._thread.join()
        self.cache.clear()

    # ------------------------------------------------------------------------------------------------ inside

    def _enqueue(self, what: Question | Callable[[], Any], bounded: bool) -> Future:
        work = _Work(what, Future())
        with self._changed:
            if self._stopped:
                raise StoppedError("the service is ending")
            if bounded:
                # Who has gone away holds no place.
                self._waiting = deque(entry for entry in self._waiting if not entry.future.cancelled())
                if len(self._waiting) >= self._queue:
                    raise QueueFullError(min(60, max(1, math.ceil(len(self._waiting) * self._seconds))))
            self._waiting.append(work)
            self._changed.notify()
        return work.future

    def _serve(self) -> None:
        while (group := self._next()) is not None:
            begun = time.monotonic()
            if group:
                self._do(group)
                self._seconds += 0.2 * ((time.monotonic() - begun) / len(group) - self._seconds)

    def _next(self) -> list[_Work] | None:
        """The next piece of work, with the questions that can be answered together with it; `None` at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._stopped)
            if self._stopped:
                return None
            first = self._waiting.popleft()
            group = [first]
            if isinstance(first.what, Question):
                rows, left = first.what.rows, deque()
                for work in self._waiting:
                    joins = isinstance(work.what, Question) and first.what.joins(work.what)
                    if joins and rows + work.what.rows <= self._batch:
                        rows += work.what.rows
                        group.append(work)
                    else:
                        left.append(work)
                self._waiting = left
        return [work for work in group if work.future.set_running_or_notify_cancel()]

    def _do(self, group: list[_Work]) -> None:
        try:
            if isinstance(group[0].what, Question):
                done: list[Any] = self._answer(group)
            else:
                done = [group[0].what()]
        except BaseException as error:  # whatever happens to a request must not end the thread of all
            if len(group) == 1:
                group[0].future.set_exception(error)
                return
            for work in group:  # one of them is to blame; the others shall not notice
                self._do([work])
            return
        for work, result in zip(group, done, strict=True):
            work.future.set_result(result)

    def _answer(self, group: list[_Work]) -> list[Answered]:
        begun, cache = time.monotonic(), self.cache
        encoded, reused = cache.encoded, cache.reused
        with cache.active():
            results = answer_questions(self.model, self.processor, [work.what for work in group])
        computed = time.monotonic() - begun
        self.num_batches += 1
        self.num_questions += len(group)
        counts = len(group), cache.encoded - encoded, cache.reused - reused
        return [Answered(own, begun - work.since, computed, *counts) for work, own in zip(group, results, strict=True)]


def answer_questions(
    model: Any, processor: Any, questions: list[Question], options: MaskOptions | None = None
) -> list[list[SegmentationResult]]:
    """The results of questions that join (`Question.joins`), or of one: for each one per text."""
    first = questions[0]
    if len(questions) == 1:
        inputs = processor(images=first.image, text=first.texts, task=first.task, **first.prompts)
    else:
        pairs = [(question, text) for question in questions for text in question.texts]
        inputs = processor(
            images=[question.image for question, _ in pairs],
            text=[text for _, text in pairs],
            task=[question.task for question, _ in pairs],
        )
    output = model.generate(**inputs, max_new_tokens=first.max_new_tokens)
    results = iter(processor.post_process(output, inputs, **({} if options is None else vars(options))))
    if len(questions) == 1:
        return [list(results)]
    return [[next(results) for _ in question.texts] for question in questions]


__all__ = ["Answered", "Engine", "Question", "QueueFullError", "StoppedError", "answer_questions"]
