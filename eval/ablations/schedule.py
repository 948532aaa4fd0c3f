"""Runs the grid of a plan: arms times seeds, several at a time, what is finished is skipped.

Enters: plans and a folder. Leaves: the finished runs of every arm. Seeds are the outer loop, so that an interrupted
grid has whole rows of the table. Arms trained for equal time follow those they are measured against.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import torch
from tqdm.auto import tqdm

from desa2va.eval.report_file import write_report
from desa2va.training.method_version import METHOD_VERSION
from desa2va.training.recipe_file import read_config, resolve_stages
from desa2va.training.train import run_recipe

from .plan import Arm, Plan
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
        """The run of an arm with a seed; `None` for an arm of equal time whose budget is not known yet."""
        config = self.plan.stage(arm, seed)
        config["init_from"] = self.plan.start(arm)
        if arm.equal_time:
            steps = self._budget(arm, config["training"]["max_steps"])
            if steps is None:
                return None
            config["training"]["max_steps"] = steps
        return Run(self.folder / "runs", config, self.plan.scoring(), self.recipe_dir, self.method_version)

    def _budget(self, arm: Arm, steps: int) -> int | None:
        """Steps that take `arm` as long as the arm it is matched with takes for its own, by processor time.

        Measured once per version of the terms, on the first seed's finished runs of equal steps, and kept: a resumed
        grid must not change it.
        """
        path = self.folder / BUDGETS_FILE
        budgets = json.loads(path.read_text()) if path.is_file() else {}
        key = f"{self.plan.name}/{arm.name}/{self.method_version}"
        if key in budgets:
            return budgets[key]
        pair = [self.run(self.plan.arms[name], self.seeds[0]) for name in (arm.like, arm.equal_time)]
        if not all(run is not None and run.finished for run in pair):
            return None
        own, other = (run.result()["provenance"] for run in pair)
        cost = own["cpu_seconds"] / own["steps"]
        budgets[key] = max(round(other["cpu_seconds"] / cost), 1)
        write_report(path, budgets)
        logger.info("%s: %d steps take as long as %s", key, budgets[key], arm.equal_time)
        return budgets[key]

    def pending(self, seed: int, equal_time: bool) -> list[Run]:
        """Runs with a seed that are not finished: those of equal steps, or those of equal time."""
        runs = [self.run(arm, seed) for arm in self.plan.arms.values() if bool(arm.equal_time) == equal_time]
        return [run for run in runs if run is not None and not run.finished]

    def finished(self, arm: Arm) -> dict[int, Run]:
        """The finished runs of an arm by seed."""
        runs = {seed: self.run(arm, seed) for seed in self.seeds}
        return {seed: run for seed, run in runs.items() if run is not None and run.finished}


def run_grids(grids: list[Grid], jobs: int = 1) -> None:
    """Trains and scores everything the grids lack.

    Args:
        grids: of one or several plans that share a folder. jobs: runs at a time, each with one thread when more than
            one; a single job leaves threads and devices as they are.
    """
    if jobs < 1:
        raise ValueError(f"jobs={jobs} must be at least 1")
    prepare_starts(grids)
    seeds = sorted({seed for grid in grids for seed in grid.seeds})
    total = sum(len(grid.plan.arms) * len(grid.seeds) for grid in grids)
    with tqdm(total=total, desc="ablation runs", disable=None) as bar:
        for seed in seeds:
            chosen = [grid for grid in grids if seed in grid.seeds]
            for equal_time in (False, True):
                waves = [run for grid in chosen for run in grid.pending(seed, equal_time)]
                _run_all(list({run.place: run for run in waves}.values()), jobs, bar)
        bar.update(bar.total - bar.n)


def prepare_starts(grids: list[Grid]) -> None:
    """Trains the stages of the recipes that arms start from, where they are missing."""
    for grid in grids:
        wanted = {grid.plan.start(arm) for arm in grid.plan.arms.values()}
        if all((grid.recipe_dir / stage / "config.json").is_file() for stage in wanted):
            continue
        recipe = read_config(grid.plan.recipe)
        names = [Path(stage["output_dir"]).name for stage in resolve_stages(recipe)]
        missing = sorted(wanted - set(names))
        if missing:
            raise ValueError(f"plan {grid.plan.name}: recipe {grid.plan.recipe} has no stages {missing}")
        last = max(names.index(stage) for stage in wanted)
        recipe["stages"] = recipe["stages"][: last + 1]
        run_recipe({**recipe, "output_dir": str(grid.recipe_dir)})


def _run_all(runs: list[Run], jobs: int, bar: tqdm) -> None:
    if jobs == 1:
        for run in runs:
            execute(run)
            bar.update()
        return
    # Spawned, not forked: torch's thread pools do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_one_thread) as pool:
        futures = [pool.submit(execute, run) for run in runs]
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
