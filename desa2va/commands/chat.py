"""`desa2va chat`: an answer in words about a picture or a video."""

from __future__ import annotations

import argparse
from typing import Any

from desa2va.argument_types import add_model_arguments, integer, named

from .common import add_command, input_kind, load_model

_EXAMPLES = """
  desa2va chat photo.jpg "what colour is the square?"
  desa2va chat clip.mp4 "how many circles are there?" --model my-model
  desa2va chat photo.jpg "find the red circle" --task auto     the model may also point with [SEG]
"""


def add_parser(subparsers: Any) -> None:
    """Describe the command."""
    parser = add_command(subparsers, "chat", "answer a question about a picture or a video", _EXAMPLES)
    parser.add_argument("input", metavar="INPUT", help="a picture, a video, a folder of frames, or an address")
    parser.add_argument("question", help="what to ask")
    parser.add_argument(
        "--task", **named("chat", "auto"), default="chat", help="chat forbids masks; default: %(default)s"
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
    """Ask and print the answer."""
    kind = input_kind(args.input)
    model, processor = load_model(args)
    print(answer(model, processor, args.input, args.question, kind, args.task, args.max_new_tokens))
    return 0


def answer(
    model: Any, processor: Any, source: Any, question: str, kind: str, task: str = "chat", max_new_tokens: int = 128
) -> str:
    """Return the model's answer about one picture or video.

    Args:
        model: A `DeSa2VAModel`.
        processor: Its `DeSa2VAProcessor`.
        source: What the processor takes as a picture or a video.
        question: The user's text.
        kind: `"image"` or `"video"`.
        task: `"chat"` or `"auto"`.
        max_new_tokens: Longest answer.
    """
    inputs = processor(**{f"{kind}s": source}, text=question, task=task)
    output = model.generate(**inputs, max_new_tokens=max_new_tokens)
    return processor.post_process(output, inputs)[0].text
