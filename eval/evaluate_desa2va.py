"""`python -m desa2va.eval.evaluate_desa2va BENCHMARK ...`: a model's scores without the command line `desa2va`.

The name of a benchmark and its arguments enter, a JSON report and a summary in the log leave.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module

from desa2va.argument_types import Parser, named
from desa2va.program import run_program

from .benchmarks.names import BENCHMARKS, ROBUSTNESS


def main(arguments: list[str] | None = None) -> int:
    """Hand everything after the benchmark's name to its own `main`.

    Args:
        arguments: `sys.argv[1:]` when omitted.

    Returns:
        The exit code.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    parser = Parser(prog="python -m desa2va.eval.evaluate_desa2va", description=__doc__.split("\n")[0])
    parser.add_argument(
        "benchmark",
        **named("refshapes", ROBUSTNESS, *BENCHMARKS),
        help="what to score on; BENCHMARK --help lists its arguments",
    )
    parser.add_argument("rest", nargs=argparse.REMAINDER, help="arguments of the benchmark")
    options = parser.parse_args(arguments)
    if options.benchmark == "refshapes":
        return import_module("desa2va.eval.refshapes").main(options.rest)
    return import_module("desa2va.eval.benchmarks.program").main([options.benchmark, *options.rest])


if __name__ == "__main__":
    sys.exit(run_program("desa2va.eval.evaluate_desa2va", main))
