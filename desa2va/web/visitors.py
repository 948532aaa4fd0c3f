"""Visitors of the page beside each other: each has work of its own, which ends when nobody comes back.

What enters: the key of a visitor and what it does. What leaves: what came of it. All work goes through the engine's
one thread and bounded line. (Engineering; no paper section.)
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, TimeoutError
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from desa2va.serving.engine import Engine, QueueFullError
from desa2va.serving.limits import Limits
from desa2va.serving.sessions import SessionStore, UnknownSessionError

from .studio import Studio, View


class Visitors:
    """The visitors of one page.

    Args:
        engine: has the model. limits: what each is granted.

    Attributes:
        engine, limits: as above. store: the open `Studio`s.
    """

    def __init__(self, engine: Engine, limits: Limits) -> None:
        self.engine, self.limits = engine, limits
        self.store = SessionStore(limits.sessions, limits.session_seconds)
        self._keys: dict[str, str] = {}
        self._stops: dict[threading.Event, str] = {}
        self._ended = threading.Event()
        threading.Thread(target=self._expire, name="desa2va-visitors", daemon=True).start()

    def open(self, visitor: str, path: str | Path) -> View:
        """Opens a picture or video in place of what the visitor had.

        Raises:
            ValueError: it can not be used. TooManyError: no place is free. RuntimeError: see `work`.
        """
        self.leave(visitor)
        with self.store.place() as place:
            opening = self.engine.call(lambda: Studio(self.engine.model, self.engine.processor, path, self.limits))
            try:
                studio = self._wait(opening)
            except BaseException:
                opening.add_done_callback(_close_opened)
                raise
            self._keys[visitor] = place.keep(studio)
        return self.work(visitor, Studio.show)

    def work(self, visitor: str, what: Callable[[Studio], Any]) -> Any:
        """What `what` makes of the visitor's work, in the model's thread.

        Raises:
            UnknownSessionError: nothing is open, or no longer. BusyError: an earlier step is not done.
            RuntimeError: the line is full, or the step took too long. Others: those of `what`.
        """
        held = ExitStack()
        studio = held.enter_context(self.store.use(self._key(visitor)))
        try:
            future = self.engine.call(lambda: what(studio))
        except BaseException:
            held.close()
            raise
        future.add_done_callback(lambda _: held.close())  # also where nobody waits for it any more
        return self._wait(future)

    def files(self, visitor: str, what: Callable[[Studio], Any]) -> Any:
        """As `work`, in the caller's thread: writing files needs no model, and shall hold nobody up."""
        with self.store.use(self._key(visitor)) as studio:
            return what(studio)

    def propagate(self, visitor: str, direction: str | None = None) -> Iterator[tuple[int, View]]:
        """Tracks frame by frame, each a piece of work of its own, until it is done or `stop` is called.

        Yields:
            How many frames are done, and the page; the last one tells how it ended. Errors as `work`.
        """
        with self._stoppable(visitor) as stop, self.store.use(self._key(visitor)) as studio:
            steps = self._call(lambda: studio.propagate(direction))
            done = 0
            try:
                while not stop.is_set() and (view := self._call(lambda: _step(studio, steps))) is not None:
                    done += 1
                    yield done, view
            finally:
                # Waited for without a limit: an iterator that is left open would refuse the next edit.
                self.engine.call(steps.close, bounded=False).result()
            end = f"Stopped after {_frames(done)}; Follow goes on." if stop.is_set() else f"{_frames(done)} done."
            yield done, self._call(lambda: studio.show(end))

    def ask(self, visitor: str, text: str) -> tuple[str, View]:
        """The next turn of the visitor's conversation, see `Studio.ask`; errors as `work`."""
        with self._stoppable(visitor) as stop:
            return self.work(visitor, lambda own: own.ask(text, stop.is_set))

    def stop(self, visitor: str) -> None:
        """Ends what the visitor tracks after the frame at hand, and an answer after the word at hand."""
        for event, owner in list(self._stops.items()):
            if owner == visitor:
                event.set()

    def leave(self, visitor: str) -> None:
        """Frees what the visitor had; work that runs is stopped, and freed after the step at hand."""
        self.stop(visitor)
        key = self._keys.pop(visitor, None)
        if key is not None:
            self.store.end(key)

    def close(self) -> None:
        """Ends everything."""
        self._ended.set()
        self.engine.close()
        self.store.close_all()

    def _key(self, visitor: str) -> str:
        if visitor not in self._keys:
            raise UnknownSessionError("open a picture or a video first; work that nobody touched for long is closed")
        return self._keys[visitor]

    @contextmanager
    def _stoppable(self, visitor: str) -> Iterator[threading.Event]:
        stop = threading.Event()
        self._stops[stop] = visitor
        try:
            yield stop
        finally:
            stop.set()  # an answer that nobody waits for any more
            del self._stops[stop]

    def _call(self, what: Callable[[], Any]) -> Any:
        return self._wait(self.engine.call(what))

    def _wait(self, future: Future) -> Any:
        try:
            return future.result(self.limits.request_seconds)
        except TimeoutError as error:
            future.cancel()
            raise RuntimeError(f"not done after {self.limits.request_seconds:g} seconds; try a smaller one") from error

    def _expire(self) -> None:
        """Frees what nobody used, though no visitor comes who would notice."""
        while not self._ended.wait(min(30.0, self.limits.session_seconds)):
            self.store.expire()


def sentence(error: Exception) -> str | None:
    """What the page says about an error; `None` of one that is a fault of this program."""
    if isinstance(error, QueueFullError):
        return f"Many people ask at this moment; try again in {error.seconds} seconds."
    if isinstance(error, (ValueError, OSError, RuntimeError, LookupError)) and type(error) is not KeyError:
        text = str(error.args[0] if isinstance(error, LookupError) and error.args else error)
        return text[:1].upper() + text[1:].rstrip(".") + "."
    return None


def _frames(count: int) -> str:
    return "1 frame" if count == 1 else f"{count} frames"


def _step(studio: Studio, steps: Iterator[int]) -> View | None:
    """The page at the next frame; `None` at the end."""
    frame = next(steps, None)
    return None if frame is None else studio.show(f"Frame {frame}.", frame)


def _close_opened(opening: Future) -> None:
    """Closes what was opened for nobody."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


__all__ = ["Visitors", "sentence"]
