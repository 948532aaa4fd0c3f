"""A file as a target: looked at before the work, complete or absent after it.

In: a path and what fills it. Out: the file, moved there when it is complete. (Engineering; no paper section.)
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from .claims import Claim, check_folder, hidden_sibling, make_file, siblings


def check_file_target(option: str, path: str | os.PathLike) -> None:
    """Whether a file can be written at `path`; also removes what a killed run of the same target left beside it.

    Args:
        option: names the path in messages, e.g. `"--json"`.
        path: of the file.

    Raises:
        IsADirectoryError: `path` is a folder. FileNotFoundError: its folder does not exist. PermissionError: nothing
            can be written there. ValueError: it is a device or a pipe, which a file must not replace.
    """
    path = Path(path)
    folder = path.absolute().parent
    if path.is_dir():
        raise IsADirectoryError(f"{option} {path} is a folder; give the name of a file")
    if path.exists() and not path.is_file():
        raise ValueError(f"{option} {path} is a device or a pipe; give the name of a file")
    if not folder.is_dir():
        raise FileNotFoundError(f"{option} {path}: the folder {folder} does not exist")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"{option} {path}: nothing can be written in the folder {folder}")
    for leftover in siblings(Path(os.path.realpath(path)), "writing"):
        with suppress(OSError), Claim(leftover) as claim:
            if claim.held:
                leftover.unlink()


def write_file(path: str | os.PathLike, write: Callable[[Path], None], overwrite: bool = False) -> None:
    """Lets `write` fill a temporary file beside `path`, then moves it there. A symbolic link keeps pointing there.

    Raises:
        FileExistsError: `path` exists and `overwrite` is false; also where it has come into being meanwhile.
        FileNotFoundError: its folder does not exist.
        ValueError: `path` is a device or a pipe.
    """
    path = Path(path)
    if not overwrite and os.path.lexists(path):
        raise FileExistsError(f"{path} exists; pass overwrite=True to replace it")
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is no file that could be replaced")
    check_folder(path)
    target = Path(os.path.realpath(path))
    temporary, claim = hidden_sibling(target, "writing"), None
    try:
        claim = make_file(temporary)
        write(temporary)
        move_file(temporary, target, overwrite)
    except OSError as error:
        if error.errno is not None and error.filename is None:  # a full disk knows no names
            with suppress(AttributeError):  # FFmpeg's errors are written once
                error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)
        if claim is not None:
            claim.release()


def move_file(temporary: Path, path: Path, overwrite: bool = False) -> None:
    """Moves a complete file to its place; of two that do so without `overwrite` one fails.

    Raises:
        FileExistsError: `path` exists and `overwrite` is false.
    """
    if overwrite:
        os.replace(temporary, path)
        return
    try:
        os.link(temporary, path)  # fails where the name exists; a rename would take it over
    except OSError:
        if os.path.lexists(path):
            raise FileExistsError(f"{path} exists; pass overwrite=True to replace it") from None
        os.rename(temporary, path)  # a file system without hard links


__all__ = ["check_file_target", "move_file", "write_file"]
