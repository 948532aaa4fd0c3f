"""Videos that clients work on in steps: each with its own key, one user at a time, closed when nobody comes back."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class TooManyError(RuntimeError):
    """As many videos are open as the service grants."""


class BusyError(RuntimeError):
    """The session is in the middle of something."""


class UnknownSessionError(LookupError):
    """There is no such session, or no longer."""


class _Entry:
    """One session. `used`: when last touched. `busy`: somebody works with it. `ended`: goes when that is done."""

    def __init__(self, session: Any) -> None:
        self.session, self.used, self.busy, self.ended = session, time.monotonic(), False, False


class SessionStore:
    """The open videos of a service: sessions, and single requests that run.

    Args:
        most: at the same time. seconds: after which a session that nobody used is closed.
    """

    def __init__(self, most: int, seconds: float) -> None:
        self.most, self.seconds = most, seconds
        self._entries: dict[str, _Entry] = {}
        self._single = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries) + self._single

    @contextmanager
    def place(self) -> Iterator[_Place]:
        """A place for a video, given back at the end unless a session was put into it (`_Place.keep`).

        Raises:
            TooManyError: there is none.
        """
        self.expire()
        with self._lock:
            if len(self) >= self.most:
                raise TooManyError(f"{self.most} videos are open, and no more are taken; try again later")
            self._single += 1
        try:
            yield _Place(self)
        finally:
            with self._lock:
                self._single -= 1

    @contextmanager
    def use(self, key: str) -> Iterator[Any]:
        """The session of a key, for one user at a time.

        Raises:
            UnknownSessionError: there is none. BusyError: another request works with it.
        """
        self.expire()
        with self._lock:
            entry = self._entry(key)
            if entry.busy:
                raise BusyError("another request works with this session; wait for its end")
            entry.busy = True
        try:
            yield entry.session
        finally:
            with self._lock:
                entry.used, entry.busy = time.monotonic(), False
                if entry.ended:
                    self._entries.pop(key, None)
            if entry.ended:
                entry.session.close()

    def close(self, key: str) -> None:
        """Closes a session; errors as `use`."""
        with self.use(key):
            self.end(key)

    def end(self, key: str) -> None:
        """Closes a session, now or when the one who works with it is done; nothing where there is none."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return
            entry.ended = True
            if entry.busy:
                return
            del self._entries[key]
        entry.session.close()

    def expire(self) -> None:
        """Closes what nobody used for long."""
        limit = time.monotonic() - self.seconds
        with self._lock:
            old = [key for key, entry in self._entries.items() if entry.used < limit and not entry.busy]
            sessions = [self._entries.pop(key).session for key in old]
        for session in sessions:
            session.close()

    def close_all(self) -> None:
        """Closes everything, at the end of the service."""
        with self._lock:
            entries, self._entries = self._entries, {}
        for entry in entries.values():
            entry.session.close()

    def _entry(self, key: str) -> _Entry:
        if key not in self._entries or self._entries[key].ended:
            raise UnknownSessionError("there is no such session; it may have expired, open a new one")
        return self._entries[key]

    def _keep(self, session: Any) -> str:
        key = secrets.token_urlsafe(18)
        with self._lock:
            self._entries[key] = _Entry(session)
        return key


class _Place:
    """A place among the open videos."""

    def __init__(self, store: SessionStore) -> None:
        self._store = store

    def keep(self, session: Any) -> str:
        """Leaves a session in it; returns the key, which nobody guesses."""
        return self._store._keep(session)


__all__ = ["BusyError", "SessionStore", "TooManyError", "UnknownSessionError"]
