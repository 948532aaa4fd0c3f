"""Temporary files and folders beside their target, which tell whether their maker still lives.

In: a target. Out: a hidden name beside it, held by a lock that the system drops with the process, so that what a kill
left behind is told from what another run is writing. (Engineering; no paper section.)
"""

from __future__ import annotations

import glob
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

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


def hidden_sibling(target: Path, purpose: str) -> Path:
    """A new name beside `target`, with its ending, so that writers that go by the ending still know it."""
    return target.with_name(f".{target.name}.{purpose}-{secrets.token_hex(4)}{target.suffix}")


def new_folder(target: Path, purpose: str) -> tuple[Path, Claim]:
    """A new folder under a hidden name beside `target`, held; with the permissions any new folder gets."""
    while True:
        path = hidden_sibling(target, purpose)
        path.mkdir()
        claim = Claim(path)
        if claim.is_of(path):  # another run may have taken it for a leftover before it was held
            return path, claim
        claim.release()


def new_file(target: Path, purpose: str) -> tuple[Path, Claim]:
    """The same for an empty file."""
    while True:
        path = hidden_sibling(target, purpose)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        claim = Claim(path)
        if claim.is_of(path):
            return path, claim
        claim.release()


def siblings(target: Path, purpose: str) -> Iterator[Path]:
    """What lies beside `target` under names of `hidden_sibling`."""
    return target.parent.glob(f".{glob.escape(target.name)}.{purpose}-{'[0-9a-f]' * 8}{glob.escape(target.suffix)}")


__all__ = ["Claim", "hidden_sibling", "new_file", "new_folder", "siblings"]
