"""The command line `desa2va`: reads arguments and calls one subcommand; `program` turns errors into one line.

What enters: `argv`. What leaves: an exit code: 0 done, 1 something is wrong (`doctor`), 2 the request is wrong.
(Engineering; no paper section.)
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module

from . import __version__
from .argument_types import Parser
from .program import run_program

COMMANDS = (
    "demo",
    "segment",
    "chat",
    "serve",
    "web",
    "train",
    "data",
    "annotate",
    "evaluate",
    "calibrate",
    "report",
    "reproduce",
    "probe",
    "ablate",
    "export",
    "convert",
    "merge",
    "doctor",
)

_DESCRIPTION = "Ask in words, get pixel masks in pictures and videos, and an answer in the same breath."
_EPILOG = """
start here:
  desa2va doctor                                       is everything in place?
  desa2va demo                                         segment a bundled picture and video by words
  desa2va segment photo.jpg "the small red circle"     masks of your own picture
  desa2va segment clip.mp4 "the green star" --out out  masks of every frame of a video
  desa2va chat photo.jpg "what color is the square?"  an answer in words
  desa2va serve                                        the same over HTTP, for many clients
  desa2va web                                          a page to try it on, with words and clicks

your own model:
  desa2va data refshapes --out shapes --limit 1000     write a procedural data set
  desa2va annotate VIDEOS --masklets MASKS --out DIR   expressions for your own videos, written by models
  desa2va train CONFIG --overrides seed=1              train (the same program under `accelerate launch`)
  desa2va eval refshapes --model DIR --json scores.json
  desa2va calibrate DATA --model DIR                   when nothing fits: score and threshold, on your own data
  desa2va report RUN --out DIR                         its figures and its best and worst cases as a page
  desa2va reproduce RUN --limit 100                    is the report still true?
  desa2va probe --model DIR --figure probe.png         what do the two prompts tell, what do they share?
  desa2va ablate baseline                              which part helps? a grid of short trainings as a table
  desa2va export DIR --model MODEL                     a folder that loads without this package
  desa2va convert ByteDance/Sa2VA-4B --out DIR         published weights as such a folder
  desa2va merge ADAPTER --out DIR                      an adapter and its base model as one

`desa2va COMMAND --help` explains a command with examples.
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = Parser(
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
    command = next((word for word in words if not word.startswith("-")), "")
    return run_program(f"desa2va {command}".strip(), lambda: _run(words), debug="--debug" in argv)


def _run(words: list[str]) -> int:
    """Read the arguments and do what they say."""
    for word in words:
        if any("\ud800" <= letter <= "\udfff" for letter in word):  # how Python holds bytes that are no UTF-8
            raise ValueError(f"{ascii(word)} is not UTF-8, and what is written could not name it; rename the file")
    parser = build_parser()
    args, unknown = parser.parse_known_args(words)
    passes_on = getattr(args, "passes_on", False)
    if all(word == "-" or not word.startswith("-") for word in unknown) and hasattr(args, "further"):
        getattr(args, args.further).extend(unknown)  # argparse takes words behind an option for unknown ones
        unknown = []
    if unknown and not passes_on:
        raise ValueError(f"unknown arguments: {' '.join(unknown)}; see `desa2va {args.command} --help`")
    args.rest = words[words.index(args.command) + 1 :] if passes_on else []
    return args.run(args)


if __name__ == "__main__":
    sys.exit(main())
