"""`desa2va reproduce`: does a report's model still say what the report says?"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from desa2va.argument_types import integer

from .common import add_command

_EXAMPLES = """
  desa2va reproduce runs/refcoco --limit 100
  desa2va reproduce report.json --limit 50 --model my-model --data data
"""


def add_parser(subparsers: Any) -> None:
    """Describe the command."""
    parser = add_command(
        subparsers,
        "reproduce",
        "ask some samples of a report again and compare the scores",
        _EXAMPLES,
    )
    parser.add_argument("report", type=Path, metavar="REPORT", help="a run's folder, or its report.json")
    parser.add_argument(
        "--limit",
        type=integer(1),
        default=100,
        metavar="N",
        help="samples, spread over the report, rounded up to whole batches; default: %(default)s",
    )
    parser.add_argument("--model", metavar="M", help="where the model is now; default: where the report says")
    parser.add_argument("--data", type=Path, metavar="DIR", help="likewise the folder of the published sets")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ...; default: cuda when present, else cpu")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Ask, compare, print."""
    from transformers.utils.logging import disable_progress_bar

    from desa2va.eval.reports.opened import read_report
    from desa2va.eval.reports.reproduction import reproduce, summarise

    disable_progress_bar()
    report = read_report(args.report)
    found = reproduce(report, args.limit, args.model, args.data, args.device)
    print(summarise(report, found))
    return 0 if found.agrees else 1
