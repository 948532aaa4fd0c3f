"""`desa2va chat`: a conversation in words about a picture or a video."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import Any

from desa2va.argument_types import add_model_arguments, integer, named

from .common import add_command, input_kind, load_model
from .marks import NAMES, add_mark_arguments, given_marks

WORDED = ("caption", "region")  # asked in words of their own where the user gives none
_EXAMPLES = """
  desa2va chat photo.jpg "what color is the square?"
  desa2va chat photo.jpg --task caption             a description
  desa2va chat photo.jpg --task region --box 4,36,58,90 --box 48,122,118,192      what is in each box
  desa2va chat photo.jpg "is region 1 left of region 2?" --point 30,60 --point 80,150
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
        nargs="*",
        help="what to ask, turn after turn; - stands for lines of standard input; none with caption and region",
    )
    parser.add_argument(
        "--task",
        **named("chat", "auto", "caption", "region"),
        default="chat",
        help="chat: words alone; auto: the model may also point with [SEG]; caption: describe; region: say what is "
        "marked; default: %(default)s",
    )
    parser.add_argument(
        "--max-new-tokens",
        type=integer(1, 131_072),
        default=128,
        metavar="N",
        help="longest answer; default: %(default)s",
    )
    add_mark_arguments(parser)
    add_model_arguments(parser)
    parser.set_defaults(run=run, further="questions")


def run(args: argparse.Namespace) -> int:
    """Ask turn after turn and print the answers."""
    kind = input_kind(args.input)
    if not args.questions and args.task not in WORDED:
        raise ValueError(f"nothing is asked about {args.input}: give a question, or --task {' or '.join(WORDED)}")
    if args.task == "region" and not any(getattr(args, name) for name in NAMES):
        raise ValueError(f"--task region is about what is marked; give {', '.join(NAMES.values())}")
    marks = given_marks(args)
    model, processor = load_model(args)
    for answer in (_talk if args.questions else _describe)(args, kind, marks, model, processor):
        print(answer, flush=True)
    return 0


def _talk(args: argparse.Namespace, kind: str, marks: dict[str, Any], model: Any, processor: Any) -> Iterator[str]:
    """Yield the answers to questions, each with those before it in mind."""
    from desa2va.modeling_desa2va.conversation import DeSa2VAConversation

    with DeSa2VAConversation(model, processor, **{kind: args.input}) as talk:
        for question in _turns(args.questions):
            yield talk.ask(question, args.task, max_new_tokens=args.max_new_tokens, **marks).text
            marks = {}  # they stay


def _describe(args: argparse.Namespace, kind: str, marks: dict[str, Any], model: Any, processor: Any) -> Iterator[str]:
    """Yield what the task says without a question: one answer, or one for each region."""
    inputs = processor(**{f"{kind}s": [args.input]}, task=args.task, **marks)
    outputs = model.generate(**inputs, max_new_tokens=args.max_new_tokens)
    for result in processor.post_process(outputs, inputs):
        yield result.text


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
