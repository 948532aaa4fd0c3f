"""One run of a benchmark: questions are answered, answers kept, kept answers scored.

Enters: a benchmark, the data folder, and whoever answers. Leaves: a folder with the answers (masks as run-length
codes), `report.json` and, for a server, a submission. A run that was killed goes on where it was; several
processes share the units and the first scores them all; nothing is left out of a score. (Paper section 4.1.)
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from desa2va.eval.report_file import write_report

from .answer_file import AnswerFolder, AnswerWriter, folder_header
from .asking import Answerer, answer_or_fail
from .names import open_benchmark
from .plan import Plan
from .processes import Processes
from .questions import Answer, Benchmark, Question, Scores
from .scoring import score_units, score_with_workers

_PLAN = ("limit", "batch_size", "prompt")


@dataclass(frozen=True)
class Run:
    """A benchmark on a data folder, whose answers lie in a folder.

    Attributes:
        benchmark: what is asked. data: the folder of all published sets. folder: of the answers and the report.
        limit, batch_size, prompt: see `Plan`.
    """

    benchmark: Benchmark
    data: Path
    folder: Path
    limit: int | None = None
    batch_size: int = 16
    prompt: str | None = None

    def plan(self) -> Plan:
        """Reads the data set.

        Raises:
            FileNotFoundError, ValueError: see `Benchmark.records` and `Plan`.
        """
        return Plan(self.benchmark, self.benchmark.records(self.data), self.batch_size, self.prompt, self.limit)

    def identity(self, plan: Plan, model: Mapping[str, Any]) -> dict[str, Any]:
        """What two runs have to share to be one."""
        chosen = {name: getattr(self, name) for name in _PLAN}
        return {"benchmark": self.benchmark.name, "data_sha256": plan.data_sha256, **chosen, "model": dict(model)}


def answer_all(
    run: Run,
    plan: Plan,
    answerer: Answerer,
    model: Mapping[str, Any],
    machine: Mapping[str, Any] | None = None,
    processes: Processes | None = None,
) -> AnswerFolder:
    """Answers every question that has no answer yet.

    Args:
        run, plan: what is asked. answerer: who is asked. model: what tells it from others, plain values.
        machine: where it runs, plain values. processes: this one among those that work on the run.

    Returns:
        The complete answers.

    Raises:
        ValueError: the folder holds answers of another run.
    """
    processes = processes or Processes()
    run.folder.mkdir(parents=True, exist_ok=True)
    identity = run.identity(plan, model)
    found = AnswerFolder(run.folder, identity, machine)
    own = [unit for unit in processes.units(len(plan.units)) if unit not in found]
    with AnswerWriter(found, processes.rank) as writer:
        for unit in tqdm(own, desc=run.benchmark.name, disable=None if processes.rank == 0 else True):
            questions = plan.questions(unit)
            started = time.perf_counter()
            answers = answer_or_fail(answerer, questions)
            writer.write(unit, [question.id for question in questions], answers, time.perf_counter() - started)
    processes.wait()
    return AnswerFolder(run.folder, identity, machine)


def finished_run(run: Run) -> tuple[Run, Plan, AnswerFolder]:
    """A run whose answers are there already, with what its header says: it is scored without its model.

    Raises:
        FileNotFoundError: no answers. ValueError: of another benchmark or other data.
    """
    header = folder_header(run.folder)
    try:
        chosen = {name: header[name] for name in _PLAN}
        model, machine = header["model"], header["machine"]
    except KeyError as error:
        raise ValueError(f"{run.folder}: the header of the answers lacks {error}") from error
    run = Run(run.benchmark, run.data, run.folder, **chosen)
    plan = run.plan()
    return run, plan, AnswerFolder(run.folder, run.identity(plan, model), machine)


def score_run(run: Run, plan: Plan, answers: AnswerFolder, workers: int = 1) -> dict[str, Any]:
    """Scores all answers, writes `report.json` and the submission, where there is a server.

    Args:
        run, plan, answers: what was asked and answered.
        workers: processes that score; the report is the same. More than one need a benchmark that `names` knows.

    Raises:
        ValueError: a sample without an answer, or an answer that does not fit it; it is named.
    """
    missing = [unit for unit in range(len(plan.units)) if unit not in answers]
    if missing:
        first = plan.questions(missing[0])[0].id
        raise ValueError(
            f"{run.folder}: {len(missing)} of {len(plan.units)} units have no answer, the first of sample {first}; "
            "run the benchmark without --score-only to answer them"
        )
    report = _scored(run, plan, answers, workers)
    told = {name: answers.header[name] for name in ("model", "machine", "data_sha256", *_PLAN)}
    report["provenance"] = {**told, "units": len(plan.units), **report["provenance"]}
    if run.benchmark.submission is not None and run.limit is None:
        report["submission"] = _submitted(run, plan, answers)
    write_report(run.folder / "report.json", report)
    return report


def _scored(run: Run, plan: Plan, answers: AnswerFolder, workers: int) -> dict[str, Any]:
    """The report without what it was measured with."""
    scores = run.benchmark.scores(run.data) if run.benchmark.scores else None
    if workers == 1:
        found = score_units(scores, plan, answers, range(len(plan.units)))
    else:
        opened = partial(_opened, run.benchmark.name, run.data, run.folder)
        found = score_with_workers(scores, opened, len(plan.units), workers)
    return {
        "benchmark": run.benchmark.name,
        "protocol": run.benchmark.protocol,
        "prompt": run.prompt or run.benchmark.wording,
        "n": len(found.samples),
        "figures": scores.figures() if scores else {},
        "statuses": dict(sorted(Counter(sample["status"] for sample in found.samples).items())),
        "failed": found.failed,
        "samples": found.samples,
        "provenance": {"seconds": round(sum(found.seconds), 2)},
    }


def _opened(name: str, data: Path, folder: Path) -> tuple[Callable[[], Scores | None], Plan, AnswerFolder]:
    """A finished run by names, as another process opens it."""
    run, plan, answers = finished_run(Run(open_benchmark(name), data, folder))
    return (lambda: run.benchmark.scores(run.data) if run.benchmark.scores else None), plan, answers


def _submitted(run: Run, plan: Plan, answers: AnswerFolder) -> dict[str, Any]:
    """Writes what a server scores, and looks through it."""
    submission = run.benchmark.submission
    path = run.folder / submission.file
    submission.write(path, _answered(plan, answers))
    count = submission.check(path, (question for _, questions in plan.all_questions() for question in questions))
    return {"file": path.name, submission.counted: count}


def _answered(plan: Plan, answers: AnswerFolder) -> Iterator[tuple[Question, Answer]]:
    for unit, questions in plan.all_questions():
        yield from zip(questions, answers.read(unit, [question.id for question in questions])[0], strict=True)


__all__ = ["Run", "answer_all", "finished_run", "score_run"]
