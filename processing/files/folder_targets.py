"""A folder as a target: looked at before the work, complete or absent after it; nothing that is not ours is replaced.

In: a path and what fills it. Out: the folder, moved there when it is complete. An error, Ctrl-C or another signal
leaves nothing behind; what a kill leaves is cleared by the next run of the same target. (Engineering; no paper
section.)
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .claims import Claim, hidden_sibling, make_folder, siblings, signals_wait

MARKER = ".desa2va"
_FULL = (errno.ENOSPC, errno.EDQUOT)  # of a disk, which names no file
_OCCUPIED = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.EISDIR)


@contextmanager
def output_folder(
    target: str | os.PathLike,
    replace: bool | None = None,
    sources: Iterable[str | os.PathLike] = (),
    rescue: Callable[[Path], bool] | None = None,
) -> Iterator[Path]:
    """Yields a temporary folder beside `target` that takes its place only when the block ends well.

    Args:
        target: absent, or an empty folder; with `replace` also a folder that this function wrote and nobody added to.
        replace: whether an existing result is replaced once the new one is complete. `None` where the caller offers
            no such choice: the folder gets no marker then and is never replaced.
        sources: what the work reads; `target` must not be or hold any of it. Those that are no paths do no harm.
        rescue: called with the temporary folder after an error, and with one that a kill left; moves away what is
            worth keeping and returns whether there was anything.

    Raises:
        FileExistsError: the target exists and may not be replaced, another run is writing it, or it has changed
            meanwhile; nothing was written then.
        ValueError: the target is a place that must not be replaced, a symbolic link or a mount point.
    """
    place = _checked_place(target, sources)
    _clear_leftovers(place, rescue)
    before = _occupant(place, replace)
    parents = [parent for parent in place.parents if not parent.exists()]
    temporary, claim = hidden_sibling(place, "writing"), None
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        claim = make_folder(temporary)
        yield temporary
        _finish(temporary, place, replace, before)
    except BaseException as error:
        with signals_wait():
            _clean_up(temporary, parents, rescue)
        if isinstance(error, OSError) and error.errno in _FULL and error.filename is None:
            error.filename = os.fspath(place)
        raise
    finally:
        if claim is not None:
            claim.release()


def check_folder_target(option: str, target: str | os.PathLike) -> None:
    """Whether `output_folder` can make a folder that is to be new; for work that comes before.

    Args:
        option: names the path in messages, e.g. `"--out"`.
        target: absent, or an empty folder.

    Raises:
        FileExistsError, ValueError: see `output_folder`. PermissionError: nothing can be written there.
    """
    place = _checked_place(target, ())
    _occupant(place, None)
    standing = next(parent for parent in place.parents if parent.exists())
    if not standing.is_dir() or not os.access(standing, os.W_OK | os.X_OK):
        raise PermissionError(f"{option} {target}: nothing can be written in {standing}")


def _clean_up(temporary: Path, parents: list[Path], rescue: Callable[[Path], bool] | None) -> None:
    """Removes what a run made, but for what is worth keeping."""
    if temporary.exists() and not (rescue is not None and rescue(temporary)):
        shutil.rmtree(temporary, ignore_errors=True)
    for parent in parents:
        with suppress(OSError):  # somebody has put something there
            parent.rmdir()


def _checked_place(target: str | os.PathLike, sources: Iterable[str | os.PathLike]) -> Path:
    """The absolute path of a target that may be made or replaced."""
    named = Path(os.path.expanduser(os.fspath(target)))
    place = named.resolve() if named.name in ("", "..") else named.parent.resolve() / named.name
    if place.is_symlink():
        raise ValueError(f"{target} is a symbolic link, which a folder can not replace; give the folder itself")
    kept = {"the working directory": [os.getcwd()], "your home": [os.path.expanduser("~")], "the input": sources}
    for what, paths in kept.items():
        for path in paths:
            if place.is_dir() and _is_or_holds(place, path):
                raise ValueError(f"{target} is or holds {what}; give a folder of its own")
    if place.is_dir() and os.path.ismount(place):
        raise ValueError(f"{target} is a mount point, which can not be replaced; give a folder inside it")
    return place


def _is_or_holds(folder: Path, path: str | os.PathLike) -> bool:
    """Whether `path` exists and lies in `folder`, or is the same; told by the file system, not by names."""
    try:
        inner = Path(path).resolve(strict=True)
    except (OSError, ValueError, RuntimeError):
        return False
    return any(os.path.samefile(folder, part) for part in (inner, *inner.parents))


def _occupant(place: Path, replace: bool | None) -> os.stat_result | None:
    """What stands at a target and is to be replaced; `None` where the place is free."""
    if not os.path.lexists(place) or (place.is_dir() and not any(place.iterdir())):
        return None
    if not replace or not place.is_dir():
        way = "another target" if replace is None or not place.is_dir() else "another --out or pass --replace"
        raise FileExistsError(f"{place} exists and is not an empty folder; nothing was written, choose {way}")
    _check_ours(place)
    return place.stat()


def _check_ours(place: Path) -> None:
    """Raises `FileExistsError` unless every entry of a folder was written by `output_folder`."""
    advice = "it is not replaced; choose another --out, or remove it yourself"
    try:
        written = set(json.loads((place / MARKER).read_text(encoding="utf-8"))["entries"])
    except (OSError, ValueError, TypeError, KeyError):
        raise FileExistsError(f"{place} was not written by desa2va (it has no {MARKER}): {advice}") from None
    foreign = sorted({path.name for path in place.iterdir()} - written - {MARKER})
    if foreign:
        raise FileExistsError(f"{place} holds {foreign[0]!r}, which desa2va did not write: {advice}")


def _clear_leftovers(place: Path, rescue: Callable[[Path], bool] | None) -> None:
    """Removes what killed runs left beside a target, and brings back a result that was moved aside."""
    for path in siblings(place, "replaced"):
        with suppress(BlockingIOError), Claim(path) as claim:
            if claim.held and os.path.lexists(place):
                shutil.rmtree(path, ignore_errors=True)
            elif claim.held:
                path.rename(place)
    for path in siblings(place, "writing"):
        try:
            with Claim(path) as claim:
                if claim.held and path.is_dir() and not (rescue is not None and rescue(path)):
                    shutil.rmtree(path, ignore_errors=True)
        except BlockingIOError:
            raise FileExistsError(f"{place} is being written by another run; wait for it, or choose another") from None


def _finish(temporary: Path, place: Path, replace: bool | None, before: os.stat_result | None) -> None:
    """Moves a complete folder to its place, which is looked at once more."""
    if replace is not None:
        entries = sorted(path.name for path in temporary.iterdir())
        (temporary / MARKER).write_text(json.dumps({"entries": entries}) + "\n", encoding="utf-8")
    try:
        if before is None:
            _move_folder(temporary, place)
        else:
            _swap(temporary, place, before)
    except BlockingIOError:
        raise FileExistsError(f"{place} is being replaced by another run; the result of this one is dropped") from None


def _move_folder(temporary: Path, place: Path) -> None:
    with suppress(OSError):
        place.rmdir()  # an empty one; not all systems rename over it
    try:
        temporary.rename(place)  # fails where anything else stands there, so of two runs one wins
    except OSError as error:
        if error.errno not in _OCCUPIED:
            raise
        raise FileExistsError(f"{place} was written by another run meanwhile and stays; choose another") from None


def _swap(temporary: Path, place: Path, before: os.stat_result) -> None:
    """Puts a complete folder where the old result stands, which goes when the new one is there."""
    old = hidden_sibling(place, "replaced")
    with signals_wait(), Claim(place):
        if not place.is_dir() or not os.path.samestat(place.stat(), before):
            raise FileExistsError(f"{place} was changed by another run meanwhile and stays; choose another")
        _check_ours(place)
        place.rename(old)
        try:
            temporary.rename(place)
        finally:
            if os.path.lexists(place):
                shutil.rmtree(old, ignore_errors=True)
            else:
                old.rename(place)


__all__ = ["MARKER", "check_folder_target", "output_folder"]
