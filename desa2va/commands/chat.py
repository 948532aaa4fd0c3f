"""`desa2va chat`: a conversation in words about a picture or a video."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import Any

from desa2va.argument_types import add_model_arguments, integer, named

from .common import add_command, input_kind, load_model

_EXAMPLES = """
  desa2va chat photo.jpg "what color is the square?"
  desa2va chat photo.jpg "find the circles" "what color is the second one?" --task auto     two turns
  desa2va chat clip.mp4 - --model my-model          you write one line after the other
"""


def add_parser(subparsers: Any) -> None:
    """Describe the command."""
    parser = add_command(subparsers, "chat", "talk about a picture or a video", _EXAMPLES)
    parser.add_argument("input", metavar="INPUT", help="a picture, a video, a folder of frames, or an address")
    parser.add_argument(
        "questions",
        metavar="QUESTION",
        nargs="+",
        help="what to ask, turn after turn; - stands for lines of standard input",
    )
    parser.add_argument(
        "--task",
        **named("chat", "auto"),
        default="chat",
        help="chat forbids masks, with auto the model may also point with [SEG]; default: %(default)s",
    )
    parser.add_argument(
        "--max-new-tokens",
        type=integer(1, 131_072),
        default=128,
        metavar="N",
        help="longest answer; default: %(default)s",
    )
    add_model_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Ask turn after turn and print the answers."""
    from desa2va.modeling_desa2va.conversation import DeSa2VAConversation

    kind = input_kind(args.input)
    model, processor = load_model(args)
    with DeSa2VAConversation(model, processor, **{kind: args.input}) as talk:
        for question in _turns(args.questions):
            print(talk.ask(question, args.task, max_new_tokens=args.max_new_tokens).text, flush=True)
    return 0


def _turns(questions: list[str]) -> Iterator[str]:
    """Yield questions, and lines in the place of `-`."""
    for question in questions:
        if question == "-":
            yield from _lines()
        else:
            yield question


def _lines() -> Iterator[str]:
    """Yield the lines of standard input that hold words; a person is shown where to write."""
    while True:
        if sys.stdin.isatty():
            print("> ", end="", flush=True)
        line = sys.stdin.readline()
        if not line:
            return
        if line.strip():
            yield line.strip()
