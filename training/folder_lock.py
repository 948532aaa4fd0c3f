"""One training per folder: a lock that dies with the process that holds it.

Enters: a folder. Leaves: nobody else trains there until the block ends, or its process does, however that happens.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # no such locks on Windows: nobody is kept out there
    fcntl = None

LOCK_FILE = ".training"


@contextmanager
def folder_lock(folder: str | os.PathLike, wait: bool = False) -> Iterator[None]:
    """Keeps other trainings out of `folder`, which is made where it is missing.

    Of the processes of one distributed training the first holds the lock.

    Args:
        folder: any folder. wait: for whoever is there, in place of the error; for what takes a moment.

    Raises:
        BlockingIOError: another process trains there; it is named.
    """
    path = Path(folder) / LOCK_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    if fcntl is None or os.environ.get("RANK", "0") != "0":
        yield
        return
    with _locked(path, wait) as file:
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)  # while it is held: who waits for it sees that it is another file


@contextmanager
def _locked(path: Path, wait: bool) -> Iterator:
    while True:
        with open(path, "a+", encoding="utf-8") as file:
            try:
                # Of the process, not of the file handle: forked data loaders that outlive it do not hold it.
                fcntl.lockf(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                file.seek(0)
                raise BlockingIOError(
                    f"{path.parent} is being trained by {file.read() or 'another process'}; wait for it to end, or "
                    "choose another output_dir"
                ) from error
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                yield file
                return


__all__ = ["LOCK_FILE", "folder_lock"]
