"""Temporary files and folders beside their target, which tell whether their maker still lives.

In: a target. Out: a hidden name beside it, held by a lock that the system drops with the process, so that what a kill
left behind is told from what another run is writing. (Engineering; no paper section.)
"""

from __future__ import annotations

import glob
import os
import secrets
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows: leftovers stay
    fcntl = None


class Claim:
    """A file or folder that this process holds until `release`; also of use as a context manager.

    Args:
        path: exists.

    Raises:
        BlockingIOError: another process holds it.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self._handle: int | None = None
        self.held = False
        try:
            self._handle = os.open(path, os.O_RDONLY)
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.held = True
        except BlockingIOError:
            self.release()
            raise
        except (OSError, AttributeError):  # gone, or a system without locks: nobody can tell
            self.release()

    def is_of(self, path: str | os.PathLike) -> bool:
        """Whether `path` still names what is held; true where nothing can be held."""
        if not self.held:
            return True
        try:
            return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(self._handle))
        except OSError:
            return False

    def release(self) -> None:
        """Lets go; safe to call twice."""
        if self._handle is not None:
            os.close(self._handle)
        self._handle, self.held = None, False

    def __enter__(self) -> Claim:
        return self

    def __exit__(self, *error: object) -> None:
        self.release()


def check_folder(path: Path) -> None:
    """Whether the folder in which a file is to lie exists; the hidden name beside it would tell a user nothing.

    Raises:
        FileNotFoundError: it does not.
    """
    folder = path.absolute().parent
    if not folder.is_dir():
        raise FileNotFoundError(f"{path} can not be written: the folder {folder} does not exist")


def hidden_sibling(target: Path, purpose: str) -> Path:
    """A new name beside `target`, with its ending, so that writers that go by the ending still know it."""
    return target.with_name(f".{target.name}.{purpose}-{secrets.token_hex(4)}{target.suffix}")


def make_folder(path: Path) -> Claim:
    """Makes a folder, with the permissions any new folder gets, and holds it."""
    while True:
        path.mkdir()
        claim = Claim(path)
        if claim.is_of(path):  # another run may have taken it for a leftover before it was held
            return claim
        claim.release()


def make_file(path: Path) -> Claim:
    """The same for an empty file."""
    while True:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        claim = Claim(path)
        if claim.is_of(path):
            return claim
        claim.release()


@contextmanager
def signals_wait() -> Iterator[None]:
    """Lets the block end before a signal that asks to end is heard: half a clean-up is none."""
    came: list[int] = []
    usual: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and callable(signal.getsignal(number)):
                usual[number] = signal.signal(number, lambda number, _: came.append(number))
    try:
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
        for number in came[:1]:
            signal.raise_signal(number)


def siblings(target: Path, purpose: str) -> Iterator[Path]:
    """What lies beside `target` under names of `hidden_sibling`."""
    return target.parent.glob(f".{glob.escape(target.name)}.{purpose}-{'[0-9a-f]' * 8}{glob.escape(target.suffix)}")


__all__ = ["Claim", "check_folder", "hidden_sibling", "make_file", "make_folder", "siblings", "signals_wait"]
