"""A plan's result as a picture: every seed a dot, every arm a bar, and how training went against processor time.

Enters: a summary of `table` and the grid's runs. Leaves: a PNG. Needs matplotlib (extra `train` or `eval`).
"""

from __future__ import annotations

import math
import statistics
from pathlib import Path
from typing import Any

from desa2va.processing.files import write_file

from .schedule import Grid

CURVES = ("fused_iou", "visual_iou")  # the baseline has no fused mask


def _pyplot() -> Any:
    """Matplotlib without a screen.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise ImportError("the picture needs matplotlib: pip install 'desa2va[eval]'") from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def draw(grid: Grid, summary: dict[str, Any], path: Path) -> None:
    """Writes the picture.

    Raises:
        ImportError: matplotlib is not installed.
    """
    pyplot = _pyplot()
    rows = [row for row in summary["rows"] if row["seeds"]]
    metric, heading = next(iter(summary["metrics"].items()))
    figure, (dots, curves) = pyplot.subplots(
        1, 2, figsize=(13, 1.6 + 0.38 * max(len(rows), 6)), width_ratios=(1.2, 1), layout="constrained"
    )
    colours = [pyplot.get_cmap("tab20")(number % 20) for number in range(len(rows))]
    for place, (row, colour) in enumerate(zip(rows, colours, strict=True)):
        value = row["values"][metric]
        dots.barh(place, value["mean"], color=colour, alpha=0.35)
        dots.plot(list(value["by_seed"].values()), [place] * len(value["by_seed"]), "o", color=colour, ms=5)
        times, levels = training_curve(grid, row["name"])
        if times:
            curves.plot(times, levels, color=colour, label=row["title"], lw=1.6)
    dots.set_yticks(range(len(rows)), [row["title"] for row in rows])
    dots.invert_yaxis()
    values = [value for row in rows for value in row["values"][metric]["by_seed"].values()]
    margin = 0.15 * (max(values) - min(values) + 0.01)
    dots.set_xlim(min(values) - margin, max(values) + margin)
    dots.set_xlabel(f"{heading}, RefShapes {summary['level']}, {summary['scenes']} held-out scenes (dots: seeds)")
    curves.set_xlabel("processor seconds of training")
    curves.set_ylabel("IoU on training batches")
    if curves.lines:
        curves.legend(fontsize=7, loc="lower right")
    curves.grid(alpha=0.3)
    dots.grid(axis="x", alpha=0.3)
    figure.suptitle(summary["title"], fontsize=11)
    write_file(path, lambda temporary: figure.savefig(temporary, dpi=110), overwrite=True)
    pyplot.close(figure)


def draw_contrasts(summary: dict[str, Any], path: Path) -> None:
    """Writes differences with their intervals, a panel for every set, a line for every contrast.

    Raises:
        ImportError: matplotlib is not installed.
    """
    pyplot = _pyplot()
    rows = summary["contrasts"]["rows"]
    if not rows:
        return
    names = list(rows[0]["sets"])
    size = (3.5 + 1.5 * len(names), 1.2 + 0.34 * len(rows))
    figure, panels = pyplot.subplots(1, len(names), figsize=size, sharey=True, layout="constrained", squeeze=False)
    for panel, name in zip(panels[0], names, strict=True):
        for place, row in enumerate(rows):
            found = row["sets"][name]
            panel.plot([100 * found["low"], 100 * found["high"]], [place, place], color="tab:blue", lw=2)
            panel.plot(100 * found["mean"], place, "o", color="tab:blue", ms=5)
        panel.axvline(0, color="grey", lw=0.8)
        panel.set_title(name.replace("_", " "), fontsize=9)
        panel.grid(axis="x", alpha=0.3)
    panels[0][0].set_yticks(range(len(rows)), [row["title"] for row in rows], fontsize=8)
    panels[0][0].invert_yaxis()
    figure.supxlabel("points of cIoU, 95 % interval over seeds and scenes", fontsize=9)
    write_file(path, lambda temporary: figure.savefig(temporary, dpi=110), overwrite=True)
    pyplot.close(figure)


def training_curve(grid: Grid, name: str) -> tuple[list[float], list[float]]:
    """Processor seconds and IoU of the kept mask on training batches, mean over seeds, at every logged step."""
    results = [run.result() for run in grid.finished(grid.plan.arms[name]).values()]
    series = []
    for result in results:
        key = next((key for key in CURVES if any(key in entry for entry in result["curves"])), None)
        cost = (result["provenance"]["cpu_seconds"] or math.nan) / result["provenance"]["steps"]
        series.append([(entry["step"] * cost, entry[key]) for entry in result["curves"] if key in entry])
    points = list(zip(*series, strict=False))
    means = [[statistics.mean(pair[axis] for pair in point) for point in points] for axis in (0, 1)]
    return means[0], means[1]


__all__ = ["draw", "draw_contrasts", "training_curve"]
