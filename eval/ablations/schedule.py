"""Runs the grid of a plan: arms times seeds, several at a time, what is finished is skipped.

Enters: plans and a folder. Leaves: the finished runs of every arm. Seeds are the outer loop, so that an interrupted
grid has whole rows of the table. Arms trained for equal time follow those they are measured against.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from desa2va.training.method_version import METHOD_VERSION
from desa2va.training.recipe_file import read_config, resolve_stages
from desa2va.training.train import run_stage

from .kept import kept_or_measured
from .plan import Arm, Plan
from .rates import RATES_FILE, choose, rate_runs, rated, scaled
from .runs import Run, execute

logger = logging.getLogger(__name__)
BUDGETS_FILE = "budgets.json"


class Grid:
    """The runs of one plan.

    Args:
        plan: the plan. folder: where runs are kept; plans share it. recipe_dir: folder of the recipe's stages.
        seeds: in place of the plan's. method_version: of the training terms; another than today's finds what was run
            with the terms of then.
    """

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        recipe_dir: Path,
        seeds: Iterable[int] | None = None,
        method_version: int = METHOD_VERSION,
    ) -> None:
        self.plan, self.folder, self.recipe_dir, self.method_version = plan, folder, recipe_dir, method_version
        self.seeds = tuple(plan.seeds if seeds is None else seeds)

    def run(self, arm: Arm, seed: int) -> Run | None:
        """The run of an arm with a seed; `None` while its learning rate, or its budget of equal time, is not known."""
        factor = self.factor(arm)
        if factor is None:
            return None
        config = self.plan.stage(arm, seed)
        if self.plan.rates is not None:
            config = scaled(config, factor)
        config["init_from"] = self.plan.start_folder(arm, seed)
        if arm.equal_time:
            steps = self._budget(arm)
            if steps is None:
                return None
            config["training"]["max_steps"] = steps
        return self._make_run(config, self.plan.scoring())

    def _make_run(self, config: dict[str, Any], scoring: dict[str, Any]) -> Run:
        return Run(self.folder / "runs", config, scoring, self.recipe_dir, self.method_version)

    def factor(self, arm: Arm) -> float | None:
        """What both learning rates of an arm are multiplied with; `None` while the runs that decide are missing."""
        if self.plan.rates is None:
            return 1.0
        arm = rated(self.plan, arm)
        key = f"{self.plan.name}/{arm.name}/{self.method_version}"
        choice = kept_or_measured(self.folder / RATES_FILE, key, lambda: choose(self.rate_runs(arm)))
        return None if choice is None else choice["factor"]

    def rate_runs(self, arm: Arm) -> dict[float, Run]:
        """The short runs that choose an arm's learning rate, by factor."""
        return rate_runs(self.plan, arm, self._make_run)

    def _budget(self, arm: Arm) -> int | None:
        """Steps that take `arm` as long as the arm it is matched with takes for its own, by processor time.

        Measured once per version of the terms, on the first seed's finished runs of equal steps that were timed.
        """
        key = f"{self.plan.name}/{arm.name}/{self.method_version}"
        return kept_or_measured(self.folder / BUDGETS_FILE, key, lambda: self._measure_budget(arm))

    def _measure_budget(self, arm: Arm) -> int | None:
        for seed in self.seeds:
            pair = [self.run(self.plan.arms[name], seed) for name in (arm.like, arm.equal_time)]
            if not all(run is not None and run.finished for run in pair):
                continue
            own, other = (run.result()["provenance"] for run in pair)
            if own["cpu_seconds"] and other["cpu_seconds"]:
                steps = max(round(other["cpu_seconds"] / (own["cpu_seconds"] / own["steps"])), 1)
                logger.info("%s: %d steps take as long as %s", arm.name, steps, arm.equal_time)
                return steps
        return None

    def pending(self, seed: int, equal_time: bool) -> list[Run]:
        """Runs with a seed that are not finished: those of equal steps, or those of equal time."""
        runs = [self.run(arm, seed) for arm in self.plan.arms.values() if bool(arm.equal_time) == equal_time]
        return [run for run in runs if run is not None and not run.finished]

    def finished(self, arm: Arm) -> dict[int, Run]:
        """The finished runs of an arm by seed."""
        runs = {seed: self.run(arm, seed) for seed in self.seeds}
        return {seed: run for seed, run in runs.items() if run is not None and run.finished}

    def deciding(self) -> list[Run]:
        """Runs that choose learning rates and are not finished."""
        arms = [arm for arm in self.plan.arms.values() if not arm.equal_time]
        return [run for arm in arms for run in self.rate_runs(arm).values() if not run.finished]


def run_grids(grids: list[Grid], jobs: int = 1, keep_weights: bool = False) -> None:
    """Trains and scores everything the grids lack; learning rates are chosen first.

    Args:
        grids: of one or several plans that share a folder. jobs: runs at a time, each with one thread when more than
            one; a single job leaves threads and devices as they are. keep_weights: of finished runs.
    """
    if jobs < 1:
        raise ValueError(f"jobs={jobs} must be at least 1")
    prepare_starts(grids)
    seeds = sorted({seed for grid in grids for seed in grid.seeds})
    deciding = _distinct(run for grid in grids for run in grid.deciding())
    total = len(deciding) + sum(len(grid.plan.arms) * len(grid.seeds) for grid in grids)
    with tqdm(total=total, desc="ablation runs", disable=None) as bar:
        _run_all(deciding, jobs, bar, keep_weights)
        for seed in seeds:
            chosen = [grid for grid in grids if seed in grid.seeds]
            for equal_time in (False, True):
                waves = _distinct(run for grid in chosen for run in grid.pending(seed, equal_time))
                _run_all(waves, jobs, bar, keep_weights)
        bar.update(bar.total - bar.n)


def _distinct(runs: Iterable[Run]) -> list[Run]:
    """Equal arms of two plans are one run."""
    return list({run.place: run for run in runs}.values())


def prepare_starts(grids: list[Grid]) -> None:
    """Trains what the arms start from, where it is missing, and of the stages before it those that are missing too."""
    for grid in grids:
        wanted = {grid.plan.start(arm) for arm in grid.plan.arms.values()}
        for folder, seed in _start_folders(grid):
            stages = resolve_stages({**read_config(grid.plan.recipe), **seed, "output_dir": str(folder)})
            unknown = sorted(wanted - {Path(stage["output_dir"]).name for stage in stages})
            if unknown:
                raise ValueError(f"plan {grid.plan.name}: recipe {grid.plan.recipe} has no stages {unknown}")
            for stage in _missing(stages, [str(folder / name) for name in wanted]):
                run_stage(stage)


def _missing(stages: list[dict[str, Any]], wanted: list[str]) -> list[dict[str, Any]]:
    """The stages that lead from what is there to the wanted folders, in the recipe's order."""
    by_folder = {stage["output_dir"]: stage for stage in stages}
    needed: set[str] = set()
    while wanted:
        folder = wanted.pop()
        if folder not in by_folder or folder in needed or (Path(folder) / "config.json").is_file():
            continue
        needed.add(folder)
        wanted.append(str(by_folder[folder].get("init_from")))
    return [stage for stage in stages if stage["output_dir"] in needed]


def _start_folders(grid: Grid) -> list[tuple[Path, dict[str, int]]]:
    """Where the starts that the grid's seeds begin from lie, and the seeds they are trained with where those are not
    the recipe's.
    """
    plan = grid.plan
    if not plan.starts:
        return [(grid.recipe_dir, {})]
    runs = (*grid.seeds, *([plan.rates.seed] if plan.rates else []))
    starts = sorted({plan.starts[seed % len(plan.starts)] for seed in runs})
    return [(grid.recipe_dir / str(start), {"seed": start}) for start in starts]


def _run_all(runs: list[Run], jobs: int, bar: tqdm, keep_weights: bool) -> None:
    if jobs == 1:
        for run in runs:
            execute(run, keep_weights)
            bar.update()
        return
    # Spawned, not forked: torch's thread pools do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_one_thread) as pool:
        futures = [pool.submit(execute, run, keep_weights) for run in runs]
        try:
            for future in as_completed(futures):
                logger.info("finished %s", future.result())
                bar.update()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in multiprocessing.active_children():  # or the end would wait for trainings of an hour
                worker.terminate()
            raise


def _one_thread() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)


__all__ = ["Grid", "prepare_starts", "run_grids"]
