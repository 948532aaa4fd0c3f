"""`desa2va eval`: scores of a model on held-out data."""

from __future__ import annotations

import argparse
from typing import Any

from desa2va.eval.benchmarks.arguments import add_benchmark_arguments, add_robustness_arguments
from desa2va.eval.benchmarks.names import BENCHMARKS, ROBUSTNESS
from desa2va.eval.refshapes_arguments import add_refshapes_arguments

from .common import add_command

_EXAMPLES = """
  desa2va eval refshapes                                    the shipped model, standard level, test split
  desa2va eval refshapes --level easy --limit 300 --json easy.json
  desa2va eval refcoco-unc-val --model my-model --data data --out runs/refcoco
  desa2va eval mevis-valid_u --model my-model --limit 50
  accelerate launch --num_processes 4 -m desa2va.eval.evaluate_desa2va refcoco-unc-val --out runs/refcoco
"""
_REFSHAPES_EXAMPLES = """
  desa2va eval refshapes --model my-model --split validation --seed 1 --videos 0
"""
_ROBUSTNESS_EXAMPLES = """
  desa2va eval robustness --limit 200                       on pictures of RefShapes
  desa2va eval robustness --of refcoco-unc-val --model my-model --data data --limit 200
"""
_BENCHMARK_EXAMPLES = """
  desa2va eval {name} --model my-model --data data --out runs/mine
  desa2va eval {name} --data data --out runs/mine --score-only
"""


def add_parser(subparsers: Any) -> None:
    """Describe the command."""
    parser = add_command(subparsers, "eval", "score a model on a benchmark", _EXAMPLES)
    benchmarks = parser.add_subparsers(title="benchmarks", dest="benchmark", metavar="BENCHMARK", required=True)
    own = add_command(benchmarks, "refshapes", "the procedural benchmark", _REFSHAPES_EXAMPLES)
    add_refshapes_arguments(own)
    own.set_defaults(run=run_refshapes)
    robust = add_command(benchmarks, ROBUSTNESS, "what must not change an answer, and what must", _ROBUSTNESS_EXAMPLES)
    add_robustness_arguments(robust)
    robust.set_defaults(run=run_benchmark)
    for name in BENCHMARKS:
        examples = _BENCHMARK_EXAMPLES.format(name=name)
        published = add_command(benchmarks, name, f"the published benchmark {name}", examples)
        add_benchmark_arguments(published)
        published.set_defaults(run=run_benchmark)


def run_refshapes(args: argparse.Namespace) -> int:
    """Score, write, and print the main figures."""
    from transformers.utils.logging import disable_progress_bar

    from desa2va.eval.refshapes import run, summarise

    disable_progress_bar()
    print(summarise(run(args)))
    if args.json is not None:
        print(f"written to {args.json}")
    return 0


def run_benchmark(args: argparse.Namespace) -> int:
    """The same for a published benchmark."""
    from transformers.utils.logging import disable_progress_bar

    from desa2va.eval.benchmarks.program import output_of, run, summarise

    disable_progress_bar()
    report = run(args)
    if report is not None:
        print(summarise(report))
        print(f"written to {output_of(args) / 'report.json'}")
    return 0
