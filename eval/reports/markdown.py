"""A report as Markdown: figures, published ones beside them, cases, what it was measured with.

Enters: what `opened`, `comparison` and `gallery` give. Leaves: text. (Engineering; no paper section.)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .comparison import Comparison, heading
from .gallery import Case
from .opened import OpenedReport

_LONGEST = 100


def table(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table; cells are shown by `show`, those of a row alike."""
    lines = ["| " + " | ".join(map(_cell, headings)) + " |", "|---" * len(headings) + "|"]
    lines += ["| " + " | ".join(_cell(value, row) for value in row) + " |" for row in map(tuple, rows)]
    return "\n".join(lines)


def show(value: Any, beside: Iterable[Any] = ()) -> str:
    """A value for people: fractions with four digits, nothing as a dash.

    Args:
        beside: values of the same kind, to which one rule applies: four digits where all are at most 1, else two.
    """
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        floats = [abs(other) for other in (value, *beside) if isinstance(other, float)]
        return f"{value:.4f}" if max(floats) <= 1 else f"{value:,.2f}"
    return str(value)


def _cell(value: Any, beside: Iterable[Any] = ()) -> str:
    # A pipe would end the cell, a bracket could become markup: what was asked and answered is anybody's text.
    text = " ".join(show(value, beside).split()).replace("\\", "\\\\")
    for mark in "|<>[]`*_":
        text = text.replace(mark, f"\\{mark}")
    return text if len(text) <= 4 * _LONGEST else f"{text[: 4 * _LONGEST]}..."


def figures_tables(report: OpenedReport) -> str:
    """All figures, a column for each group; see `OpenedReport.tables`."""
    shown = []
    for groups in report.tables():
        names = dict.fromkeys(name for values in groups.values() for name in values)
        rows = [[heading(name), *(values.get(name) for values in groups.values())] for name in names]
        headings = ["figure", *(group.replace("_", " ") or "value" for group in groups)]
        shown.append(table(headings, rows))
    return "\n\n".join(shown)


def comparison_table(comparison: Comparison) -> str:
    """Ours and theirs in percent, with numbered notes; a sentence where nothing was published."""
    if not comparison.metrics:
        return "No published figure of this benchmark was found (`eval/published.json`)."
    notes = list(dict.fromkeys(note for row in comparison.rows for note in row.notes))
    rows = []
    for row in comparison.rows:
        cells = ["–" if value is None else f"{value:.1f}" for value in row.cells]
        marks = "".join(f" ({notes.index(note) + 1})" for note in row.notes)
        rows.append([row.who + marks, *cells, row.source])
    told = "\n".join(f"{number}. {note}" for number, note in enumerate(map(_cell, notes), 1))
    return f"{table(['model', *comparison.headings, 'source'], rows)}\n\n{told}".rstrip()


def cases_table(cases: Sequence[Case]) -> str:
    """The chosen cases in words."""
    scores = [case.score for case in cases]
    rows = [[case.group, case.id, show(case.score, scores), case.status, case.request, case.answer] for case in cases]
    return table(["case", "sample", "score", "status", "request", "answer"], rows)


def section(report: OpenedReport, comparison: Comparison, cases: Sequence[Case], why_none: str, plot: str) -> str:
    """One report.

    Args:
        report, comparison, cases: of it. why_none: why there are no cases. plot: name of a picture, or empty.
    """
    content = report.content
    statuses = ", ".join(f"{name} {count}" for name, count in content["statuses"].items())
    parts = [
        f"## {_cell(report.title)}",
        f"{content['n']} samples, {len(content['failed'])} failed; statuses: {_cell(statuses)}.",
        f"Scored: {_cell(content.get('protocol'))}. Said: {_cell(content.get('prompt'))}.",
        figures_tables(report),
        f"![scores]({plot})" if plot else "",
        "### Best, median and worst",
        cases_table(cases) if cases else f"No gallery: {_cell(why_none)}.",
        "### Beside published figures, percent",
        comparison_table(comparison),
        "### Measured with",
        table(["setting", "value"], report.settings()),
    ]
    return "\n\n".join(part for part in parts if part)


__all__ = ["cases_table", "comparison_table", "figures_tables", "section", "show", "table"]
