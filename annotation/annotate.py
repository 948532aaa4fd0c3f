"""`desa2va annotate` and `accelerate launch -m desa2va.annotation.annotate`: the same program.

Videos and masklets enter; a folder with all answers, the data set, a report and pages to review leave. A run that was
killed goes on when it is repeated. (Sa2VA, section 3.3.)
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import desa2va
from desa2va.argument_types import Parser
from desa2va.eval.benchmarks.processes import Processes, joined_processes, own_device
from desa2va.openai_client import ChatClient, EndpointError
from desa2va.processing.files import output_folder, write_json
from desa2va.program import run_program

from .arguments import add_annotation_arguments
from .asks import Describer
from .assemble import write_dataset
from .endpoint import EndpointDescriber
from .local_model import load_describer
from .masklets import Source, find_sources
from .measured import MeasuringDescriber
from .prompts import read_prompts
from .quality import quality_report, summarise
from .refshapes import PlantingDescriber, check_rows, planted, read_truth, write_videos
from .review import ReviewPages, clip_cards
from .rows import REVIEW_FORMAT, Decision, read_decisions
from .run import Outcome, Run, describe_all
from .store import spent_tokens

MEASURED, REFSHAPES = "measured", "refshapes"
DECISIONS = "decisions.json"
_REFSHAPES_VIDEOS = 40


@dataclass(frozen=True)
class Finished:
    """What a run came to.

    Attributes:
        report: all figures. outcome: of this process. stopped: why it ended early, where it did.
    """

    report: dict[str, Any]
    outcome: Outcome
    stopped: str | None


def run(args: argparse.Namespace) -> Finished | None:
    """Describe what is not described yet, and write the data set of what is complete.

    Args:
        args: as `add_annotation_arguments` describes them.

    Returns:
        `None` in every process but the first.

    Raises:
        FileNotFoundError, ValueError: videos, masklets, prompts, models or decisions are not there or wrong; or
            `--out` holds another run. OSError: the disk is full; what is finished is kept.
    """
    with joined_processes() as processes:
        args.out.mkdir(parents=True, exist_ok=True)
        decisions = _decisions(args, processes)
        sources = _sources(args, processes)
        prompts = read_prompts(args.prompts)
        describer, checker = _describers(args, sources, processes)
        run = Run(sources, prompts, describer, checker, args.batch_size, args.out)
        answers = run.answers()
        stopped, outcome = None, Outcome()
        try:
            describe_all(run, processes, answers, outcome)
        except EndpointError as error:  # what is finished is worth a data set
            stopped = str(error)
        processes.wait()
    if processes.rank:
        return None
    return Finished(_finish(args, run, decisions), outcome, stopped)


def _sources(args: argparse.Namespace, processes: Processes) -> list[Source]:
    if args.videos != REFSHAPES:
        if args.masklets is None:
            raise ValueError("--masklets is missing; only refshapes brings its own")
        return find_sources(Path(args.videos), args.masklets)[: args.limit]
    folder = args.out / REFSHAPES
    if processes.rank == 0:
        folder.mkdir(exist_ok=True)
        write_videos(folder, args.limit or _REFSHAPES_VIDEOS)
    processes.wait()
    return write_videos(folder, args.limit or _REFSHAPES_VIDEOS)


def _describers(args: argparse.Namespace, sources: list[Source], processes: Processes) -> tuple[Describer, Describer]:
    """Who describes pictures, and who checks and shortens texts."""
    own_checker = args.checker is not None or args.checker_endpoint is not None
    endpoints = [args.endpoint, args.checker_endpoint if own_checker else None]
    share = processes.count * max(1, sum(endpoint is not None for endpoint in endpoints))
    limits = _limits(args, share) if any(endpoints) else {}
    describer = checker = _describer(args.describer, args.endpoint, args, limits)
    if own_checker:
        checker = _describer(args.checker or args.describer, args.checker_endpoint, args, limits)
    if args.videos == REFSHAPES:
        describer = PlantingDescriber(describer, sources, planted(read_truth(args.out / REFSHAPES)))
    return describer, checker


def _limits(args: argparse.Namespace, share: int) -> dict[str, Any]:
    """Of each of `share` clients, which keep to the rate and to what earlier runs left of the budget together."""
    cost = None if args.max_cost is None else max(0.0, args.max_cost - _cost(args, spent_tokens(args.out))) / share
    rate = None if args.requests_per_minute is None else args.requests_per_minute / share
    limits = {"timeout": args.timeout, "retries": args.retries, "requests_per_minute": rate}
    return {**limits, "max_cost": cost, "prices": tuple(args.prices)}


def _describer(name: str, endpoint: str | None, args: argparse.Namespace, limits: Mapping[str, Any]) -> Describer:
    """By name; `limits` are a client's."""
    if endpoint is None:
        if name == MEASURED:
            return MeasuringDescriber()
        return load_describer(name, own_device(args.device), args.dtype, args.max_tokens)
    return EndpointDescriber(ChatClient(endpoint, name, **limits), args.max_tokens)


def _cost(args: argparse.Namespace, tokens: Sequence[int]) -> float:
    return sum(count * price for count, price in zip(tokens, args.prices, strict=True)) / 1e6


def _decisions(args: argparse.Namespace, processes: Processes) -> dict[tuple[str, str], Decision]:
    """Those of earlier reviews, and those that are given now, which are kept with them."""
    kept = args.out / DECISIONS
    decisions = read_decisions(kept) if kept.is_file() else {}
    for path in args.decisions:
        decisions |= read_decisions(path)
    if args.decisions and processes.rank == 0:
        entries = [{"video": video, "object": number, **asdict(said)} for (video, number), said in decisions.items()]
        write_json(kept, {"format": REVIEW_FORMAT, "decisions": entries}, overwrite=True)
    return decisions


def _finish(args: argparse.Namespace, run: Run, decisions: Mapping[tuple[str, str], Decision]) -> dict[str, Any]:
    """Writes `dataset/`, replacing an earlier one, and returns its report."""
    answers = run.answers()
    rows = []
    given = [path for path in (args.videos, args.masklets) if path and path != REFSHAPES]
    with output_folder(args.out / "dataset", replace=True, sources=given) as folder:
        pages = ReviewPages(folder, str(args.out.absolute()))
        for clip, own in write_dataset(run, answers, decisions, args.validation, folder):
            rows += own
            pages.add(clip_cards(clip, own))
        pages.finish()
        report = quality_report(rows, args.validation)
        cost = round(_cost(args, answers.tokens), 4)
        report["tokens"] = {"requests": answers.tokens[0], "answers": answers.tokens[1], "cost": cost}
        report["provenance"] = {"desa2va": desa2va.__version__, "videos": str(args.videos), **run.identity}
        if args.videos == REFSHAPES:
            truth = read_truth(args.out / REFSHAPES)
            report[REFSHAPES] = check_rows(rows, truth, planted(truth))
        if args.round_trip is not None:
            report["round_trip"] = _round_trip(args, folder)
        write_json(folder / "report.json", report)
    return report


def _round_trip(args: argparse.Namespace, dataset: Path) -> dict[str, Any]:
    from desa2va.hub import load

    from .round_trip import round_trip

    model, processor = load(args.round_trip, device=args.device)
    return round_trip(dataset, args.out / "round_trip.jsonl", model, processor, args.round_trip)


def told(finished: Finished, out: Path) -> str:
    """The report in words."""
    report = finished.report
    lines = [summarise(report)]
    if REFSHAPES in report:
        found = report[REFSHAPES]
        lines.append(
            f"truth: {found['true']} of {found['statements']} statements; {found['planted']} conflicts planted, "
            f"{found['dropped']} dropped of {found['checked']} checked: precision {found['precision']}, recall "
            f"{found['recall']}"
        )
    if "round_trip" in report:
        lines.append(f"round trip: {json.dumps({k: v for k, v in report['round_trip'].items() if k != 'least'})}")
    waiting = finished.outcome.unanswered
    if waiting:
        key, reason = min(waiting.items())
        lines.append(f"{len(waiting)} objects got no answer, the first {key[0]}, object {key[1]}: {reason}")
    if finished.stopped:
        lines.append(f"stopped early: {finished.stopped}")
    if waiting or finished.stopped:
        lines.append("what is finished is kept; repeat the command to go on")
    return "\n".join([*lines, f"written to {out / 'dataset'}"])


def main(arguments: list[str] | None = None) -> int:
    """Command line; see the module docstring."""
    parser = Parser(prog="python -m desa2va.annotation.annotate", description=__doc__.split("\n")[0])
    add_annotation_arguments(parser)
    args = parser.parse_args(arguments)
    finished = run(args)
    if finished is None:
        return 0
    sys.stdout.write(told(finished, args.out) + "\n")
    return exit_code(finished)


def exit_code(finished: Finished) -> int:
    """1 where something waits for another run."""
    return int(bool(finished.stopped or finished.outcome.unanswered))


if __name__ == "__main__":
    sys.exit(run_program("desa2va.annotation.annotate", main))
