"""Plots of reports: how scores are distributed, and figures beside published ones.

Enters: reports and comparisons. Leaves: PNG files (matplotlib, extra `eval`), and for the page an SVG that needs
nothing. (Engineering; no paper section.)
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from .comparison import Comparison
from .opened import OpenedReport

BINS = 20
_WIDTH, _HEIGHT, _BASE = 640, 190, 160


def histogram(scores: Sequence[float], highest: float = 1) -> np.ndarray:
    """Samples by score: int `(20,)`, equal bins over [0, `highest`]; the last one holds `highest`."""
    return np.histogram(np.clip(scores, 0, highest), bins=BINS, range=(0, highest))[0]


def histogram_svg(scores: Sequence[float], name: str, highest: float = 1) -> str:
    """The distribution of scores as an SVG element whose colours are those of the page.

    Args:
        scores: of all samples, from 0 to `highest`. name: of the score.
    """
    counts = histogram(scores, highest)
    step, top = _WIDTH / BINS, max(1, int(counts.max()))
    mean, median = float(np.mean(scores)), float(np.median(scores))
    parts = [
        f'<svg class="histogram" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(name)} of {len(scores)} samples: mean {mean:.3f}, median {median:.3f}">'
    ]
    for place, count in enumerate(counts):
        height = 140 * count / top
        parts.append(
            f'<rect x="{place * step + 1:.1f}" y="{_BASE - height:.1f}" width="{step - 2:.1f}" height="{height:.1f}">'
            f"<title>{highest * place / BINS:.2f} to {highest * (place + 1) / BINS:.2f}: {count}</title></rect>"
        )
    middle = mean / highest * _WIDTH
    parts.append(f'<line x1="{middle:.1f}" x2="{middle:.1f}" y1="14" y2="{_BASE}"/>')
    parts += [
        f'<text x="{x}" y="{_BASE + 20}" text-anchor="{anchor}">{label}</text>'
        for x, anchor, label in ((0, "start", 0), (_WIDTH / 2, "middle", highest / 2), (_WIDTH, "end", highest))
    ]
    return "".join([*parts, "</svg>"])


def can_plot() -> bool:
    """Whether matplotlib is there."""
    return find_spec("matplotlib") is not None


def plot_report(report: OpenedReport, comparison: Comparison, path: Path) -> None:
    """Writes the distribution of scores and the figures beside published ones as one PNG.

    Raises:
        ImportError: matplotlib is not installed.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [(row.who, row.cells[0], row.is_ours) for row in comparison.rows if row.cells and row.cells[0] is not None]
    size = (11, max(3.2, 0.26 * len(rows) + 1.2))
    figure, (left, right) = pyplot.subplots(1, 2, figsize=size, width_ratios=(1, 1.2), layout="constrained")
    _plot_scores(report, left)
    if rows:
        names, values, ours = zip(*rows, strict=True)
        right.barh(range(len(rows)), values, color=["tab:orange" if own else "tab:blue" for own in ours])
        right.set_yticks(range(len(rows)), names, fontsize=7)
        right.invert_yaxis()
        right.set_xlabel(f"{comparison.headings[0]}, percent; orange: this report")
    else:
        right.set_axis_off()
    figure.suptitle(report.title, fontsize=10)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _plot_scores(report: OpenedReport, axes: Any) -> None:
    if report.score is None:
        axes.set_axis_off()
        return
    counts, width = histogram(list(report.scores.values()), report.highest), report.highest / BINS
    axes.bar(width * np.arange(BINS), counts, width=width, align="edge", edgecolor="white")
    axes.set_xlabel(f"{report.score} of {len(report.scores)} samples")
    axes.set_ylabel("samples")


__all__ = ["can_plot", "histogram", "histogram_svg", "plot_report"]
