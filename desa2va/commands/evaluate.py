"""`desa2va eval`: scores of a model on held-out data."""

from __future__ import annotations

import argparse
from typing import Any

from .common import add_command

_EXAMPLES = """
  desa2va eval refshapes                                    the shipped model, standard level, test split
  desa2va eval refshapes --level easy --limit 300 --json easy.json
  desa2va eval refshapes --model my-model --split validation --seed 1
"""


def add_parser(subparsers: Any) -> None:
    """Describe the command."""
    parser = add_command(subparsers, "eval", "score a model on a benchmark", _EXAMPLES)
    parser.add_argument("benchmark", choices=("refshapes",), help="what to score on")
    parser.set_defaults(run=run, passes_on=True)


def run(args: argparse.Namespace) -> int:
    """Hand everything to the benchmark."""
    from desa2va.eval.refshapes import main

    return main([word for word in args.rest if word != args.benchmark]) or 0
