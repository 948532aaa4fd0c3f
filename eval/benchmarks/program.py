"""`desa2va eval BENCHMARK` and `accelerate launch -m desa2va.eval.evaluate_desa2va BENCHMARK`: the same program.

Enters: the name of a benchmark and its arguments. Leaves: a folder with answers and report. (Paper section 4.1.)
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

from desa2va.argument_types import Parser
from desa2va.eval.provenance import describe_run, model_folder, sam2_sha256, weights_sha256

from . import mmbench_video
from .arguments import add_benchmark_arguments, add_robustness_arguments
from .asking import Answerer, ModelAnswerer
from .baselines import OracleKeyFrames, OraclePrompt, whole_picture
from .box_cascade import BoxCascade
from .judges import KeptJudge, open_judge
from .names import JUDGED, ROBUSTNESS, open_benchmark
from .processes import Processes, joined_processes, own_device
from .questions import Benchmark
from .runner import Run, answer_all, finished_run, score_run

logger = logging.getLogger(__name__)
_SHOWN = ("ciou", "giou", "n_acc", "t_acc", "j", "f", "jf", "a", "r", "miou", "recall", "ap50", "meteor", "cider")
_SHOWN_OF_WORDS = ("accuracy", "perception", "cognition", "Overall")
_SHOWN_OF_ROBUSTNESS = ("agreement", "flips", "moved", "followed", "error_px", "seen_px", "within")


def run(args: argparse.Namespace) -> dict[str, Any] | None:
    """Answer what is not yet answered, score, write the report.

    Args:
        args: as `add_benchmark_arguments` (or `add_robustness_arguments`) describes them, and `benchmark`.

    Returns:
        The report; `None` in every process but the first.

    Raises:
        FileNotFoundError, ValueError: model or data are not there or wrong; or `--out` holds another run.
    """
    benchmark, judge = judged_benchmark(args)
    chosen = Run(benchmark, args.data, output_of(args), args.limit, args.batch_size, args.prompt)
    if args.score_only:
        return score_run(*finished_run(chosen), args.score_workers)
    if args.baseline not in (None, "cascade") and benchmark.scores is None:
        raise ValueError(f"--baseline {args.baseline} needs the truth, which is not public for {benchmark.name}")
    if args.baseline is not None and not benchmark.masks:
        raise ValueError(f"--baseline is about masks; {benchmark.name} scores words alone")
    if args.baseline is not None and args.benchmark == ROBUSTNESS:
        raise ValueError(f"{benchmark.name} asks the model in its own ways; leave out --baseline")
    with joined_processes() as processes:
        # What is missing for a score is told before a model is loaded and hours are spent on answers.
        plan = chosen.plan()
        if args.baseline == "key_frames" and not plan.records[0].is_video:
            raise ValueError(f"--baseline key_frames is for videos; {benchmark.name} asks about pictures")
        if benchmark.scores is not None:
            benchmark.scores(args.data)
        if judge is not None and processes.rank == 0:
            judge.check()
        answerer, model, machine = loaded_answerer(args, processes)
        answers = answer_all(chosen, plan, answerer, model, machine, processes)
    return score_run(chosen, plan, answers, args.score_workers) if processes.rank == 0 else None


def judged_benchmark(args: argparse.Namespace) -> tuple[Benchmark, KeptJudge | None]:
    """The benchmark, with its judge where one is named.

    Raises:
        ValueError: a judge where none is needed, an address without a judge, or several processes that score.
    """
    benchmark = open_benchmark(name_of(args))
    if args.judge is None:
        if args.judge_url is not None:
            raise ValueError("--judge-url needs --judge, the model's name there")
        return benchmark, None
    if benchmark.name not in JUDGED:
        raise ValueError(f"--judge grades free answers, of {', '.join(JUDGED)}; {benchmark.name} has none")
    if args.score_workers > 1:
        raise ValueError("one process asks the judge; leave out --score-workers")
    judge = open_judge(args.judge, args.judge_url, args.device, output_of(args))
    return mmbench_video.benchmark(benchmark.name, judge), judge


def output_of(args: argparse.Namespace) -> Path:
    """The folder of a run."""
    return args.out or Path(f"eval-{name_of(args)}")


def name_of(args: argparse.Namespace) -> str:
    """The name of the benchmark; that of `robustness` ends with whose pictures it takes."""
    return f"{ROBUSTNESS}-{args.of}" if args.benchmark == ROBUSTNESS else args.benchmark


def loaded_answerer(args: argparse.Namespace, processes: Processes) -> tuple[Answerer, dict[str, Any], dict[str, Any]]:
    """Who is asked, what tells it from others, and where it runs.

    Args:
        args: `benchmark` (and `of` for robustness), `model`, `sam2`, `device`, `dtype`, `baseline` and `data` of
            `add_benchmark_arguments`. processes: those of the run.

    Raises:
        FileNotFoundError, ValueError: the model is not there or wrong.
    """
    # The command line's floor; imported here because nothing else of this room may know it.
    from desa2va.hub import load
    from desa2va.model_files import locate

    if args.baseline == "whole":
        return whole_picture, {"baseline": "whole"}, {"data": str(args.data), "processes": processes.count}
    model, processor = load(args.model, sam2=args.sam2, device=own_device(args.device), dtype=args.dtype)
    asked = ModelAnswerer(model, processor)
    weights = weights_sha256(model_folder(locate(args.model)))
    hashes = {"weights_sha256": weights, "sam2_sha256": sam2_sha256(args.sam2)}
    told = {"baseline": args.baseline, **hashes, **asked.settings()}
    answerer = _answerer(open_benchmark(name_of(args)), args.baseline, asked)
    where = {"model": str(args.model), "sam2": args.sam2, "data": str(args.data), "processes": processes.count}
    return answerer, told, {**where, **describe_run(model)}


def _answerer(benchmark: Benchmark, baseline: str | None, asked: ModelAnswerer) -> Answerer:
    """Who answers in the place of a model, or the model itself."""
    if baseline is None:
        return asked if benchmark.asks is None else benchmark.asks(asked)
    if baseline == "key_frames":
        return OracleKeyFrames(asked)
    if baseline == "cascade":
        return BoxCascade(asked.model, asked.processor)
    return OraclePrompt(asked.model, asked.processor, baseline)


def summarise(report: dict[str, Any]) -> str:
    """The main figures as a few lines of text."""
    lines = [f"{report['benchmark']}, {report['n']} samples, {len(report['failed'])} failed"]
    groups = {name: values for name, values in report["figures"].items() if isinstance(values, dict)}
    for group, values in {"": report["figures"], **groups}.items():
        named = ((name, values.get(name)) for name in (*_SHOWN, *_SHOWN_OF_WORDS, *_SHOWN_OF_ROBUSTNESS))
        shown = [f"{name} {value:.4f}" for name, value in named if isinstance(value, float | int)]
        if shown:
            lines.append(f"{group:16}{', '.join(shown)}" if group else ", ".join(shown))
    lines += [f"{entry['id']} failed: {entry['reason']:.200}" for entry in report["failed"][:3]]
    if "submission" in report:
        (_, name), (counted, count) = report["submission"].items()
        lines.append(f"{name}: {count} {counted}, checked")
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Command line; `desa2va eval BENCHMARK` is the same with the summary on standard output.

    Args:
        arguments: the benchmark's name first.
    """
    benchmark, *rest = arguments
    parser = Parser(prog=benchmark, description=__doc__.split("\n")[0])
    (add_robustness_arguments if benchmark == ROBUSTNESS else add_benchmark_arguments)(parser)
    args = parser.parse_args(rest, argparse.Namespace(benchmark=benchmark))
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    report = run(args)
    if report is not None:
        logger.info("%s", summarise(report))
    return 0


__all__ = ["judged_benchmark", "loaded_answerer", "main", "name_of", "output_of", "run", "summarise"]
