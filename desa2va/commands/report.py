"""`desa2va report`: what benchmarks gave, as a page to look at."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from desa2va.argument_types import integer

from .common import add_command, say_folder

_EXAMPLES = """
  desa2va report runs/refcoco --out pages/refcoco              a folder of `desa2va eval`
  desa2va report runs/refcoco runs/mevis --out pages/both --data data
  desa2va report runs/refcoco --out pages/refcoco --replace --cases 8
  desa2va report runs/refcoco_m --out pages/m --card my-model        and into the model's card, for the Hub
"""


def add_parser(subparsers: Any) -> None:
    """Describe the command."""
    parser = add_command(
        subparsers, "report", "show reports of benchmarks: tables, plots, best, median and worst cases", _EXAMPLES
    )
    parser.add_argument(
        "reports", nargs="+", type=Path, metavar="REPORT", help="a run's folder, its report.json, or a RefShapes JSON"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="index.html, report.md and plots")
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="folder of the published sets; default: where the run read them"
    )
    parser.add_argument(
        "--cases", type=integer(1, 100), default=4, metavar="N", help="best, median and worst; default: %(default)s"
    )
    hub = parser.add_argument_group("hub")
    hub.add_argument(
        "--card",
        type=Path,
        metavar="MODEL_DIR",
        help="model folder that the reports are about: they go into its card, evaluation.json and .eval_results",
    )
    hub.add_argument(
        "--hub-dataset",
        metavar="ID",
        help="the data set's benchmark on the Hub for .eval_results, OWNER/NAME or OWNER/NAME:TASK",
    )
    parser.add_argument("--replace", action="store_true", help="replace an earlier result in --out")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Read, write, print where."""
    from desa2va.eval.reports.opened import read_report
    from desa2va.eval.reports.write import write_pages

    reports = [read_report(path) for path in args.reports]
    for sentence in write_pages(reports, args.out, args.data, args.cases, args.replace):
        print(sentence)
    say_folder(args.out)
    if args.card is not None:
        from desa2va.eval.reports.hub_results import add_to_model

        for sentence in add_to_model(reports, args.card, args.hub_dataset):
            print(sentence)
        print(f"added to {args.card}")
    return 0
