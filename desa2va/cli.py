"""The command line `desa2va`: reads arguments, calls one subcommand, turns errors into one line.

What enters: `argv`. What leaves: an exit code: 0 done, 1 something is wrong (`doctor`), 2 the request is wrong.
(Engineering; no paper section.)
"""

from __future__ import annotations

import argparse
import re
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any

from . import __version__
from .errors import USER_ERRORS

COMMANDS = ("demo", "segment", "chat", "train", "data", "evaluate", "probe", "ablate", "export", "doctor")

_DESCRIPTION = "Ask in words, get pixel masks in pictures and videos, and an answer in the same breath."
_EPILOG = """
start here:
  desa2va doctor                                       is everything in place?
  desa2va demo                                         segment a bundled picture and video by words
  desa2va segment photo.jpg "the small red circle"     masks of your own picture
  desa2va segment clip.mp4 "the green star" --out out  masks of every frame of a video
  desa2va chat photo.jpg "what colour is the square?"  an answer in words

your own model:
  desa2va data refshapes --out shapes --limit 1000     write a procedural data set
  desa2va train CONFIG --overrides seed=1              train (the same program under `accelerate launch`)
  desa2va eval refshapes --model DIR --json scores.json
  desa2va probe --model DIR --figure probe.png         what do the two prompts tell, what do they share?
  desa2va ablate baseline                              which part helps? a grid of short trainings as a table
  desa2va export DIR --model MODEL                     a folder that loads without this package

`desa2va COMMAND --help` explains a command with examples.
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="desa2va",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"desa2va {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the full traceback of an error")
    subparsers = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        import_module(f"desa2va.commands.{name}").add_parser(subparsers)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Arguments after the program's name; `sys.argv[1:]` when omitted.

    Returns:
        The exit code.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    words = [word for word in argv if word != "--debug"]
    parser = build_parser()
    args, unknown = parser.parse_known_args(words)
    passes_on = getattr(args, "passes_on", False)
    if unknown and not passes_on:
        parser.error(f"unknown arguments: {' '.join(unknown)}; see `desa2va {args.command} --help`")
    args.rest = words[words.index(args.command) + 1 :] if passes_on else []
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn_once()
            return args.run(args) or 0
    except KeyboardInterrupt:
        print("desa2va: interrupted", file=sys.stderr)
        return 130
    except USER_ERRORS as error:
        if "--debug" in argv:
            raise
        print(f"desa2va {args.command}: {_one_line(error)}", file=sys.stderr)
        return 2


def _warn_once() -> Callable[..., None]:
    """Return a `warnings.showwarning` that prints one line, once for warnings that differ in numbers alone."""
    seen: set[str] = set()

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        kind = re.sub(r"\d+", "#", str(message))
        if kind not in seen:
            seen.add(kind)
            print(f"desa2va: warning: {_one_line(message)}", file=sys.stderr)

    return show


def _one_line(error: BaseException | str) -> str:
    """Return the message of `error` on one line."""
    return " ".join(str(error).split()) or type(error).__name__


if __name__ == "__main__":
    sys.exit(main())
