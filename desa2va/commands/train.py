"""`desa2va train`: the program of `accelerate launch -m desa2va.training.train`, with scores while it trains."""

from __future__ import annotations

import argparse
from typing import Any

from .common import add_command

_EXAMPLES = """
  desa2va train tiny                              a named configuration (training/configs)
  desa2va train my.yaml --overrides training.max_steps=100 output_dir=runs/try
  desa2va train desa2va/1b --dry-run              parameters, memory, first batch; nothing is trained
  accelerate launch -m desa2va.training.train my.yaml     the same, on several devices
"""


def add_parser(subparsers: Any) -> None:
    """Describe the command."""
    usage = "desa2va train CONFIG [--dry-run [--steps N]] [--overrides KEY=VALUE ...]"
    parser = add_command(subparsers, "train", "train or fine-tune from a configuration", _EXAMPLES, usage=usage)
    parser.set_defaults(run=run, passes_on=True)


def run(args: argparse.Namespace) -> int:
    """Hand everything to the training program."""
    from desa2va.eval.training_scores import BenchmarkScorer
    from desa2va.training.train import main

    return main([word for word in args.rest if word != "--overrides"], BenchmarkScorer)
