"""`desa2va ablate`: which part of the method helps, measured."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from desa2va.argument_types import LARGEST_SEED, integer

from .common import add_command

_EXAMPLES = """
  desa2va ablate baseline                         a shipped table, from nothing (docs/ablations.md)
  desa2va ablate baseline start --jobs 2          two plans, two runs at a time with one thread each
  desa2va ablate decoupling --out docs/decoupling --recipe-dir docs/decoupling/starts
  desa2va ablate my-plan.yaml --seeds 0 1 --out runs/mine
  desa2va ablate baseline --report-only           tables and pictures of what is finished
"""


def add_parser(subparsers: Any) -> None:
    """Describe the command."""
    parser = add_command(subparsers, "ablate", "train and score a grid of variants", _EXAMPLES)
    parser.add_argument("plans", nargs="+", metavar="PLAN", help="a YAML file, or the name of a packaged plan")
    parser.add_argument("--out", type=Path, default=Path("runs/ablations"), help="default: %(default)s")
    parser.add_argument(
        "--recipe-dir",
        type=Path,
        default=Path("runs/tiny"),
        help="stages the variants start from; trained first where missing; default: %(default)s",
    )
    parser.add_argument(
        "--seeds", type=integer(0, LARGEST_SEED), nargs="+", metavar="N", help="in place of the plan's"
    )
    parser.add_argument(
        "--jobs", type=integer(1, 256), default=1, metavar="J", help="runs at a time; default: %(default)s"
    )
    parser.add_argument("--keep-weights", action="store_true", help="of finished runs; only their results else")
    parser.add_argument("--report-only", action="store_true", help="train nothing, report what is finished")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run, report, print the tables."""
    from desa2va.eval.ablations.ablate import run as run_plans

    for name, table in zip(args.plans, run_plans(args), strict=True):
        print(f"{name}\n{table}")
    print(f"written to {args.out}")
    return 0
