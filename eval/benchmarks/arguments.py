"""The arguments of `desa2va eval BENCHMARK` for published benchmarks; imports nothing heavy, so `--help` is quick."""

from __future__ import annotations

import argparse
from pathlib import Path

from desa2va.argument_types import add_model_arguments, integer, named
from desa2va.openai_client import KEY_VARIABLE

from .names import BASELINES, BENCHMARKS, JUDGED


def add_robustness_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `program.run` for the benchmark `robustness`."""
    parser.add_argument(
        "--of",
        type=named(*BENCHMARKS)["type"],
        default="refshapes-standard-test",
        metavar="BENCHMARK",
        help="whose pictures or videos; --limit counts them; default: %(default)s",
    )
    add_benchmark_arguments(parser)


def add_benchmark_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `program.run`."""
    add_model_arguments(parser)
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data",
        type=Path,
        default=Path("data"),
        metavar="DIR",
        help="folder of the published sets, docs/data.md; default: %(default)s",
    )
    data.add_argument("--limit", type=integer(1), metavar="N", help="only the first N samples; all by default")
    data.add_argument(
        "--prompt",
        metavar="WORDS",
        help="around an expression, {} stands for it; default: those of task='segment', \"Please segment {}.\"",
    )
    run = parser.add_argument_group("run")
    run.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="answers, report.json, what servers score; a run that was killed goes on there; default: eval-BENCHMARK",
    )
    run.add_argument(
        "--batch-size",
        type=integer(1, 4096),
        default=16,
        metavar="B",
        help="questions answered together; default: %(default)s",
    )
    run.add_argument(
        "--baseline",
        **named(*BASELINES),
        help="in place of the model's masks: the whole picture; its SAM-2 with a box or point of the truth, or with "
        "the boxes that it writes (cascade); its own masks with the key frames that fit the truth best",
    )
    run.add_argument(
        "--score-workers",
        type=integer(1, 1024),
        default=1,
        metavar="W",
        help="processes that score; for J and F of long videos; default: %(default)s",
    )
    run.add_argument(
        "--judge",
        metavar="J",
        help=f"who grades free answers ({', '.join(JUDGED)}): a model's name at --judge-url, else a folder or Hub id",
    )
    run.add_argument(
        "--judge-url",
        metavar="URL",
        help=f"OpenAI-compatible endpoint of --judge, e.g. http://localhost:8000/v1; key: variable {KEY_VARIABLE}",
    )
    run.add_argument("--score-only", action="store_true", help="score the answers in --out; no model is loaded")


__all__ = ["add_benchmark_arguments", "add_robustness_arguments"]
