"""`desa2va eval`: scores of a model on held-out data."""

from __future__ import annotations

import argparse
from typing import Any

from desa2va.argument_types import named
from desa2va.eval.refshapes_arguments import add_refshapes_arguments

from .common import add_command

_EXAMPLES = """
  desa2va eval refshapes                                    the shipped model, standard level, test split
  desa2va eval refshapes --level easy --limit 300 --json easy.json
  desa2va eval refshapes --model my-model --split validation --seed 1 --videos 0
"""


def add_parser(subparsers: Any) -> None:
    """Describe the command."""
    parser = add_command(subparsers, "eval", "score a model on a benchmark", _EXAMPLES)
    parser.add_argument("benchmark", **named("refshapes"), help="what to score on")
    add_refshapes_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Score, write, and print the main figures."""
    from transformers.utils.logging import disable_progress_bar

    from desa2va.eval.refshapes import run as run_refshapes
    from desa2va.eval.refshapes import summarise

    disable_progress_bar()
    print(summarise(run_refshapes(args)))
    if args.json is not None:
        print(f"written to {args.json}")
    return 0
