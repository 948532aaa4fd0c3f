"""`desa2va probe`: does the disentanglement do what it claims?"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from desa2va.argument_types import LARGEST_SEED, add_model_arguments, integer, named

from .common import add_command

_EXAMPLES = """
  desa2va probe                                               the shipped model; docs/probe.md explains the figures
  desa2va probe --json probe.json --figure probe.png
  desa2va probe --model runs/tiny/decoupling --against runs/tiny/text_pretraining
"""


def add_parser(subparsers: Any) -> None:
    """Describe the command."""
    parser = add_command(
        subparsers, "probe", "measure what the textual and the visual prompt tell, and what they share", _EXAMPLES
    )
    add_model_arguments(parser)
    parser.add_argument("--against", metavar="M", help="a second checkpoint on the same scenes, e.g. the one before")
    data = parser.add_argument_group("data")
    data.add_argument(
        "--level", **named("easy", "standard", "full"), default="standard", help="difficulty; default: %(default)s"
    )
    data.add_argument(
        "--split", **named("train", "validation", "test"), default="test", help="of the scenes; default: %(default)s"
    )
    data.add_argument(
        "--seed",
        type=integer(0, LARGEST_SEED),
        default=0,
        metavar="N",
        help="of the scenes and of every draw; default: %(default)s",
    )
    data.add_argument(
        "--scenes",
        type=integer(20),
        default=600,
        metavar="N",
        help="scenes, four requests each; default: %(default)s",
    )
    data.add_argument(
        "--batch-size",
        type=integer(1, 4096),
        default=16,
        metavar="B",
        help="scenes read together; default: %(default)s",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the whole report here")
    parser.add_argument("--figure", type=Path, metavar="FILE", help="draw it here (.png, .pdf, .svg)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure, write, print the main figures, draw."""
    from transformers.utils.logging import disable_progress_bar

    from desa2va.eval.probe.probe import run as run_probe
    from desa2va.eval.probe.table import summarise

    disable_progress_bar()
    report, features = run_probe(args)
    print(summarise(report))
    if args.json is not None:
        print(f"written to {args.json}")
    if args.figure is not None:
        from desa2va.eval.probe.figure import draw

        draw(args.figure, features, report["model"], title=Path(args.model).name)
        print(f"drawn in {args.figure}")
    return 0
