"""From finished runs to a table: mean and spread over seeds, and the difference to the reference arm.

Enters: a `Grid`. Leaves: plain rows, and the same as Markdown. Differences are paired by seed: a seed fixes data and
order for all arms, and all arms answer the same held-out scenes.
"""

from __future__ import annotations

import math
import statistics
from typing import Any

from .kept import read_kept
from .plan import Arm
from .rates import RATES_FILE
from .schedule import Grid


def summarise(grid: Grid) -> dict[str, Any]:
    """The table of a plan as plain values, ready for JSON.

    Returns:
        `plan`, `title`, `claim`, `reference`, `level`, `scenes`, `metrics` (path -> heading), and `rows`: per arm
        `name`, `title`, `seeds`, `steps`, `cpu_seconds`, `values` (metric -> {mean, sd, se_scenes, by_seed}), and
        `difference` of the first metric to the reference ({mean, se, n}; `None` where no seed is shared).
    """
    plan = grid.plan
    reports = {
        arm.name: {seed: run.result() for seed, run in grid.finished(arm).items()} for arm in plan.arms.values()
    }
    first = next(iter(plan.metrics))
    rows = [_row(grid, arm, reports[arm.name], reports[plan.reference], first) for arm in plan.arms.values()]
    names = ("title", "claim", "reference", "level", "scenes", "metrics")
    return {"plan": plan.name, **{name: getattr(plan, name) for name in names}, "rows": rows}


def _row(grid: Grid, arm: Arm, results: dict[int, Any], reference: dict[int, Any], first: str) -> dict[str, Any]:
    provenance = [result["provenance"] for result in results.values()]
    seconds = [entry["cpu_seconds"] for entry in provenance if entry["cpu_seconds"] is not None]
    return {
        "name": arm.name,
        "title": arm.title,
        "seeds": sorted(results),
        "steps": provenance[0]["steps"] if provenance else None,
        "cpu_seconds": round(statistics.mean(seconds), 1) if seconds else None,
        "warnings": sorted({entry["warning"] for p in provenance for entry in p["warnings"]}),
        "values": {path: _spread(results, path) for path in grid.plan.metrics},
        "difference": None if arm.name == grid.plan.reference else _difference(results, reference, first),
    }


def measured(result: dict[str, Any]) -> dict[str, Any]:
    """What a table may show of a run: its report, and under `last` the training log's last entry."""
    return {**result["report"], "last": result["curves"][-1] if result["curves"] else {}}


def look_up(report: dict[str, Any], path: str) -> float | None:
    """The value at a dotted path of a report; `None` where the report has no such part."""
    value: Any = report
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            return None
        value = value[key]
    return value


def _spread(results: dict[int, Any], path: str) -> dict[str, Any] | None:
    """Mean and standard deviation over seeds, and the mean standard error over scenes of one run."""
    values = {seed: look_up(measured(result), path) for seed, result in results.items()}
    values = {seed: value for seed, value in values.items() if value is not None}
    if not values:
        return None
    errors = [look_up(result["report"], f"{path}_se") for result in results.values()]
    errors = [error for error in errors if error is not None]
    return {
        "mean": statistics.mean(values.values()),
        "sd": statistics.stdev(values.values()) if len(values) > 1 else None,
        "se_scenes": statistics.mean(errors) if errors else None,
        "by_seed": values,
    }


def _difference(results: dict[int, Any], reference: dict[int, Any], path: str) -> dict[str, Any] | None:
    """Mean difference over shared seeds; its standard error over seeds, with one seed that over scenes."""
    shared = sorted(set(results) & set(reference))
    pairs = [(results[seed]["report"], reference[seed]["report"]) for seed in shared]
    gaps = [look_up(own, path) - look_up(other, path) for own, other in pairs]
    if not gaps:
        return None
    if len(gaps) > 1:
        error = statistics.stdev(gaps) / math.sqrt(len(gaps))
    else:
        error = math.hypot(*(look_up(report, f"{path}_se") or 0.0 for report in pairs[0]))
    return {"mean": statistics.mean(gaps), "se": error, "n": len(gaps)}


def markdown(summary: dict[str, Any]) -> str:
    """The table as Markdown: figures in percent points of the metric's own unit, three decimals."""
    headings = list(summary["metrics"].values())
    lines = [
        f"| variant | seeds | steps | CPU s | {' | '.join(headings)} | {headings[0]}, difference |",
        "|---|---|---|---|" + "---|" * (len(headings) + 1),
    ]
    for row in summary["rows"]:
        cells = [_figure(row["values"][path]) for path in summary["metrics"]]
        gap = row["difference"]
        shown = "" if gap is None else f"{gap['mean']:+.3f} ± {gap['se']:.3f}"
        if row["name"] == summary["reference"]:
            shown = "reference"
        steps, seconds = row["steps"] or "", "" if row["cpu_seconds"] is None else f"{row['cpu_seconds']:.0f}"
        lines.append(f"| {row['title']} | {len(row['seeds'])} | {steps} | {seconds} | {' | '.join(cells)} | {shown} |")
    return "\n".join(lines) + "\n"


def chosen_rates(grid: Grid) -> dict[str, Any]:
    """Arm -> what decided its learning rate; see `rates.choose`."""
    kept = read_kept(grid.folder / RATES_FILE)
    keys = {name: f"{grid.plan.name}/{name}/{grid.method_version}" for name in grid.plan.arms}
    return {name: kept[key] for name, key in keys.items() if key in kept}


def rates_markdown(grid: Grid) -> str:
    """The choice of every arm's learning rate as Markdown."""
    factors = grid.plan.rates.factors
    lines = ["| variant | " + " | ".join(f"rate × {factor:g}" for factor in factors) + " | chosen |"]
    lines.append("|---|" + "---|" * (len(factors) + 1))
    for name, choice in chosen_rates(grid).items():
        cells = [f"{choice['ciou'][str(factor)]:.3f}" for factor in factors]
        lines.append(f"| {grid.plan.arms[name].title} | {' | '.join(cells)} | × {choice['factor']:g} |")
    return "\n".join(lines) + "\n"


def _figure(value: dict[str, Any] | None) -> str:
    """Mean with its spread over seeds, or over scenes (in brackets) where there is one seed."""
    if value is None:
        return "-"
    if value["sd"] is not None:
        return f"{value['mean']:.3f} ± {value['sd']:.3f}"
    return f"{value['mean']:.3f}" + ("" if value["se_scenes"] is None else f" ({value['se_scenes']:.3f})")


__all__ = ["chosen_rates", "look_up", "markdown", "measured", "rates_markdown", "summarise"]
