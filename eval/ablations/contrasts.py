"""A plan's answer: its arms against each other on every set, with intervals and what the number of questions does.

Enters: a `Grid` whose runs kept the pixels of every scene. Leaves: plain values, and the same as Markdown.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .schedule import Grid
from .scoring import unpack
from .statistics import Counts, difference, holm, mean_difference

# Holm's p below which a difference is shown; cIoU within which an interval excludes one that matters.
SIGNIFICANT, NEGLIGIBLE = 0.05, 0.015
# Whose mean says whether an arm is more robust (docs/decoupling.md, H5; the paper's figure 4).
HARDER = ("negation", "look_alike", "noise", "dark", "occlusion")


def summarise_contrasts(grid: Grid) -> dict[str, Any]:
    """Every contrast of the plan on every set, over the seeds that both arms have finished.

    Returns:
        `comparisons`: how many figures the table holds. `family`: how many of them Holm's correction takes together:
        the contrasts on one set. `rows`: per contrast `arm`, `against`, `title`, and `sets`: name -> what `difference`
        returns, with `holm` and `verdict`; `mean_of_harder` is that of the sets `HARDER`, where all were scored.
    """
    plan = grid.plan
    results = {
        name: {seed: run.result() for seed, run in grid.finished(arm).items()} for name, arm in plan.arms.items()
    }
    rows = []
    for name, others in plan.contrasts.items():
        for other in others:
            seeds = sorted(results[name].keys() & results[other].keys())
            if not seeds:
                continue
            own, against = ([results[arm][seed]["report"]["sets"] for seed in seeds] for arm in (name, other))
            counts = {key: (_counts(own, key), _counts(against, key)) for key in own[0]}
            sets = {key: difference(*both) for key, both in counts.items()}
            if counts.keys() >= set(HARDER):
                sets["mean_of_harder"] = mean_difference([counts[key] for key in HARDER])
            title = f"{plan.arms[name].title} − {plan.arms[other].title}"
            rows.append({"arm": name, "against": other, "title": title, "sets": sets})
    names = list(rows[0]["sets"]) if rows else []
    for key in names:
        for row, p in zip(rows, holm([row["sets"][key]["p"] for row in rows]), strict=True):
            row["sets"][key]["holm"] = p
            row["sets"][key]["verdict"] = verdict(row["sets"][key])
    return {"comparisons": len(rows) * len(names), "family": len(rows), "rows": rows}


def verdict(found: dict[str, Any]) -> str:
    """`shown` where Holm's p is below .05, else `excluded` where the interval lies within 1.5 points, else `open`."""
    if found["holm"] is not None and found["holm"] < SIGNIFICANT:
        return "shown"
    return "excluded" if max(-found["low"], found["high"]) <= NEGLIGIBLE else "open"


def _counts(reports: list[dict[str, Any]], name: str) -> Counts:
    packed = np.stack([unpack(report[name]["counts"]) for report in reports])
    return Counts(packed[:, 0], packed[:, 1])


def contrasts_markdown(summary: dict[str, Any]) -> str:
    """The contrasts in points of cIoU (hundredths): difference, interval, plain p and Holm's."""
    if not summary["rows"]:
        return "No two arms have a seed in common yet.\n"
    names = list(summary["rows"][0]["sets"])
    lines = [
        f"| difference, points | seeds | {' | '.join(name.replace('_', ' ') for name in names)} |",
        "|---|---|" + "---|" * len(names),
    ]
    for row in summary["rows"]:
        cells = [cell(row["sets"][name]) for name in names]
        lines.append(f"| {row['title']} | {row['sets'][names[0]]['n']} | {' | '.join(cells)} |")
    lines.append("")
    lines.append(
        f"Points of cIoU [95 % interval], p of a paired t over seeds, then Holm's over the {summary['family']} "
        f"contrasts of a column. The table makes {summary['comparisons']} comparisons."
    )
    return "\n".join(lines) + "\n"


def cell(found: dict[str, Any]) -> str:
    """A difference in points, its interval and both p."""
    interval = f"{100 * found['mean']:+.1f} [{100 * found['low']:+.1f}, {100 * found['high']:+.1f}]"
    return interval if found["p"] is None else f"{interval} {_p(found['p'])} / {_p(found['holm'])}"


def _p(value: float) -> str:
    return "<.001" if value < 0.001 else f"{value:.3f}".lstrip("0")


__all__ = ["HARDER", "cell", "contrasts_markdown", "summarise_contrasts", "verdict"]
