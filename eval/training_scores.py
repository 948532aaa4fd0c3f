"""Scores while a model trains, by the runner of `desa2va eval`: the same questions, answers and figures.

Enters: section `score` of a configuration, then a model that is being trained. Leaves: figures for the log, by which
the best checkpoint is chosen. The training room knows no scorer; the program `desa2va train` hands it this one.
(Engineering; no paper section.)
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch.distributed as dist

from .answering import evaluation_mode
from .benchmarks.asking import ModelAnswerer
from .benchmarks.names import BENCHMARKS, open_benchmark
from .benchmarks.processes import Processes
from .benchmarks.questions import FAILED, Answer
from .benchmarks.runner import Run, answer_all, score_run

FOLDER = ".scoring"


class BenchmarkScorer:
    """A benchmark that is asked again and again.

    Args:
        section: `benchmark`, a name of `desa2va eval`; `data`, `limit`, `batch_size`, `prompt` as there.
        folder: of the run; answers lie in `.scoring` inside while they are collected.

    Raises:
        ValueError: no such benchmark, or one whose truth is not public. FileNotFoundError: its data are not there.
    """

    def __init__(self, section: dict[str, Any], folder: Path) -> None:
        name, chosen = section["benchmark"], {key: section[key] for key in section if key not in ("benchmark", "data")}
        if name not in BENCHMARKS:
            raise ValueError(f"score.benchmark={name!r} is no benchmark; `desa2va eval --help` lists them")
        benchmark = open_benchmark(name)
        if benchmark.scores is None:
            raise ValueError(f"score.benchmark={name}: its truth is not public, so nothing can be scored here")
        self.run = Run(benchmark, Path(section.get("data", "data")), folder / FOLDER, **chosen)
        self.plan = self.run.plan()

    def __call__(self, model: Any, processor: Any) -> dict[str, float]:
        """The figures, the same in every process; each answers its share. A collective call.

        Args:
            model: a `DeSa2VAModel`, left in the mode it is in. processor: its processor.
        """
        several = dist.is_initialized()
        processes = Processes(dist.get_rank(), dist.get_world_size()) if several else Processes()
        self._clear(processes)
        with evaluation_mode(model):
            answers = answer_all(self.run, self.plan, ModelAnswerer(model, processor), {}, processes=processes)
        found = [flat(score_run(self.run, self.plan, answers)["figures"]) if processes.rank == 0 else {}]
        if several:
            dist.broadcast_object_list(found)
        self._clear(processes)
        return found[0]

    def figure_names(self) -> set[str]:
        """The names of the figures, found by scoring no answer at all to any question."""
        scores = self.run.benchmark.scores(self.run.data)
        for _, questions in self.plan.all_questions():
            for question in questions:
                scores.add(question, Answer(FAILED))
        return set(flat(scores.figures(), undefined=True))

    def _clear(self, processes: Processes) -> None:
        if processes.rank == 0:
            shutil.rmtree(self.run.folder, ignore_errors=True)
        processes.wait()


def flat(figures: dict[str, Any], undefined: bool = False) -> dict[str, float | None]:
    """Numbers of a report by one name each: `ciou` of all samples, `relation_ciou` of a group.

    Args:
        figures: of the report. undefined: those that are `None` too.
    """
    found: dict[str, float | None] = {}
    for name, value in figures.items():
        if isinstance(value, dict):
            prefix = "" if name == "overall" else f"{name}_"
            found |= {f"{prefix}{key}": number for key, number in flat(value, undefined).items()}
        elif isinstance(value, int | float) or (undefined and value is None):
            found[name] = value
    return found


__all__ = ["FOLDER", "BenchmarkScorer", "flat"]
