"""How a program of this package ends: with an exit code and at most one line, whatever happens to it.

What enters: the work of one command. What leaves: its exit code. An error that a request, a file or the machine can
cause becomes one line; any other is a fault of this package and keeps its traceback. Ctrl-C, SIGTERM and SIGHUP unwind
like an exception, so that whatever is half-written goes. Imports nothing heavy, so that
every floor can use it. (Engineering; no paper section.)
"""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from .errors import ASK_THE_DOCTOR, USER_ERRORS, broken_import

# The same of libraries whose errors derive from none of these; looked up only where the library is loaded.
_LIBRARY_ERRORS = (
    ("yaml", "YAMLError"),
    ("safetensors", "SafetensorError"),
    ("av", "FFmpegError"),
    ("zipfile", "BadZipFile"),
    ("pickle", "UnpicklingError"),
    ("huggingface_hub.errors", "EntryNotFoundError"),
    ("httpx", "HTTPError"),
    ("httpx2", "HTTPError"),
)
# torch has no kind of its own for these.
_MACHINE = re.compile("can't allocate memory|out of memory|no space left|failed writing file", re.IGNORECASE)
_LONGEST_LINE = 600
# A temporary name beside its target; the user knows the target.
_HIDDEN = re.compile(r"\.([^/\\]+)\.(?:writing|replaced)-[0-9a-f]{8}(?:\.\w+)?")


class Terminated(BaseException):
    """The program was asked to end by a signal, whose number is the argument."""


def run_program(name: str, work: Callable[[], int | None], debug: bool = False) -> int:
    """Runs `work` and turns whatever ends it into an exit code.

    Args:
        name: what stands before an error, e.g. `"desa2va segment"`.
        work: the command; returns its exit code, `None` for 0.
        debug: let errors through with their traceback; the variable DESA2VA_DEBUG does the same.

    Returns:
        The exit code of `work`; 2 after an error that was told; 130 after Ctrl-C, 128 plus the number of another
        signal that asked to end.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that knows ASCII alone must not end the work
            stream.reconfigure(errors="backslashreplace")
    try:
        with _signals_unwind(), warnings.catch_warnings():
            warnings.showwarning = _warn_once()
            code = work() or 0
            if sys.stdout is not None:
                sys.stdout.flush()
            return code
    except KeyboardInterrupt:
        _say("desa2va: interrupted")
        return 128 + signal.SIGINT
    except Terminated as end:
        _say(f"desa2va: ended by {signal.Signals(end.args[0]).name}")
        return 128 + end.args[0]
    except BrokenPipeError:
        return 128 + 13  # SIGPIPE: whoever read the output has enough, as `head` does
    except Exception as error:
        line = error_line(error)
        if debug or line is None or os.environ.get("DESA2VA_DEBUG"):
            raise
        _say(f"{name}: {line}")
        return 2
    finally:
        _empty_output()


def error_line(error: BaseException) -> str | None:
    """One line about an error that a request, a file or the machine can cause; `None` for a fault of this package."""
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _MACHINE.search(str(error))):
        return f"{one_line(error)}; free some memory or disk, or ask for less at a time"
    if isinstance(error, OSError) and error.strerror:
        names = [os.fsdecode(name) for name in (error.filename, error.filename2) if name is not None]
        place = _HIDDEN.sub(r"\1", " -> ".join(names))
        return f"{place}: {one_line(error.strerror)}" if place else one_line(error.strerror)
    if (line := broken_import(error)) is not None:
        return one_line(f"{line}; {ASK_THE_DOCTOR}")
    return one_line(error) if isinstance(error, (*USER_ERRORS, *_loaded_library_errors())) else None


def one_line(message: BaseException | str) -> str:
    """The message on one line, cut where it is endless."""
    text = " ".join(str(message).split()) or type(message).__name__
    return text if len(text) <= _LONGEST_LINE else f"{text[:_LONGEST_LINE]} ..."


def _loaded_library_errors() -> tuple[type[BaseException], ...]:
    found = (getattr(sys.modules.get(module), name, None) for module, name in _LIBRARY_ERRORS)
    return tuple(kind for kind in found if kind is not None)


def _empty_output() -> None:
    """Writes what `print` still holds, or drops it: Python would fail again at exit, with its own words."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(line: str) -> None:
    with suppress(OSError):  # nobody may listen any more
        print(line, file=sys.stderr, flush=True)


def _warn_once() -> Callable[..., None]:
    """A `warnings.showwarning` that prints one line, once for warnings that differ in numbers alone."""
    seen: set[str] = set()

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        kind = re.sub(r"\d+", "#", str(message))
        if kind not in seen:
            seen.add(kind)
            _say(f"desa2va: warning: {one_line(message)}")

    return show


@contextmanager
def _signals_unwind() -> Iterator[None]:
    """Inside the block SIGTERM and SIGHUP raise `Terminated`, where they would have killed without a clean-up."""
    usual: dict[int, Any] = {}

    def end(number: int, _: Any) -> None:
        raise Terminated(number)

    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)  # Windows knows no SIGHUP
            if number is not None and signal.getsignal(number) == signal.SIG_DFL:
                usual[number] = signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)


__all__ = ["Terminated", "error_line", "one_line", "run_program"]
