"""`desa2va ablate`: trains and scores what a plan lacks, then writes its table, picture and figures.

Enters: names or files of plans and a folder. Leaves: `OUT/runs/*/result.json`, and per plan `OUT/PLAN.json`,
`OUT/PLAN.md`, `OUT/PLAN.png`, and `OUT/PLAN_contrasts.png` where the plan has contrasts.
"""

from __future__ import annotations

import argparse
import json
import logging
from functools import partial
from pathlib import Path

from desa2va.processing.files import write_file
from desa2va.training.method_version import METHOD_VERSION

from .contrasts import contrasts_markdown, summarise_contrasts
from .figure import draw, draw_contrasts
from .plan import read_plan
from .schedule import Grid, run_grids
from .table import chosen_rates, markdown, rates_markdown, summarise

logger = logging.getLogger(__name__)


def run(args: argparse.Namespace) -> list[str]:
    """Runs and reports the plans.

    Args:
        args: `plans`, `out`, `recipe_dir`, `seeds`, `jobs`, `keep_weights`, `report_only` as the command line
            describes them.

    Returns:
        The tables as Markdown, one per plan.
    """
    grids = [Grid(read_plan(name), args.out, args.recipe_dir, args.seeds) for name in args.plans]
    if args.report_only:
        grids = [newest_finished(grid) for grid in grids]
    else:
        args.out.mkdir(parents=True, exist_ok=True)
        run_grids(grids, args.jobs, args.keep_weights)
    return [report(grid) for grid in grids]


def newest_finished(grid: Grid) -> Grid:
    """The same plan under the newest terms with which any run of it is finished; `grid` itself where none is."""
    for version in range(grid.method_version, 0, -1):
        earlier = Grid(grid.plan, grid.folder, grid.recipe_dir, grid.seeds, version)
        if any(earlier.finished(arm) for arm in grid.plan.arms.values()):
            return earlier
    return grid


def report(grid: Grid) -> str:
    """Writes a plan's table, picture and figures from its finished runs; returns the table.

    Raises:
        ValueError: no run of the plan is finished.
    """
    summary = summarise(grid)
    if not any(row["seeds"] for row in summary["rows"]):
        raise ValueError(
            f"no run of plan {grid.plan.name!r} is finished in {grid.folder}; run it without --report-only"
        )
    table = markdown(summary)
    if grid.plan.contrasts:
        summary["contrasts"] = summarise_contrasts(grid)
        table += "\n" + contrasts_markdown(summary["contrasts"])
    if grid.plan.rates:
        summary["rates"] = chosen_rates(grid)
        table += "\n" + rates_markdown(grid)
    if grid.method_version != METHOD_VERSION:
        table = (
            f"Runs with version {grid.method_version} of the training terms; today's is {METHOD_VERSION}.\n\n{table}"
        )
    texts = {".json": json.dumps(summary, indent=1) + "\n", ".md": f"{summary['title']}\n\n{table}"}
    for suffix, text in texts.items():
        write_text = partial(Path.write_text, data=text, encoding="utf-8")
        write_file(grid.folder / f"{grid.plan.name}{suffix}", write_text, overwrite=True)
    try:
        draw(grid, summary, grid.folder / f"{grid.plan.name}.png")
        if grid.plan.contrasts:
            draw_contrasts(summary, grid.folder / f"{grid.plan.name}_contrasts.png")
    except ImportError as error:
        logger.warning("no picture: %s", error)
    return table


__all__ = ["newest_finished", "report", "run"]
