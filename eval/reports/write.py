"""Writes reports for people: a folder with the page, the Markdown and the plots.

Enters: reports, the data folder. Leaves: a folder, complete or not there. (Engineering; no paper section.)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from desa2va.processing.files import output_folder

from .comparison import compare
from .gallery import Case, gallery
from .markdown import section as markdown_section
from .opened import OpenedReport
from .page import Section, render_page
from .plots import can_plot, plot_report

PAGE, TEXT = "index.html", "report.md"


def write_pages(
    reports: Sequence[OpenedReport], target: Path, data: Path | None, count: int, replace: bool = False
) -> list[str]:
    """Writes the page, the text and the plots.

    Args:
        reports: at least one. target: the folder. data: of the published sets; by default where each run read them.
        count: cases of each group. replace: see `output_folder`.

    Returns:
        What could not be written, a sentence each.

    Raises:
        FileExistsError: the target is there. FileNotFoundError, ValueError: no gallery can be drawn from `data`, where
            it was given.
    """
    sections = [_section(report, reports, data, count) for report in reports]
    left_out = [f"{part.report.title}: no gallery, {part.why_none}" for part in sections if not part.cases]
    plots = _plot_names(reports) if can_plot() else [""] * len(reports)
    if not can_plot():
        left_out.append("no plots: they need matplotlib, pip install 'desa2va[eval]'")
    with output_folder(target, replace=replace, sources=[report.path for report in reports]) as folder:
        for part, plot in zip(sections, plots, strict=True):
            if plot:
                plot_report(part.report, part.comparison, folder / plot)
        texts = [
            markdown_section(part.report, part.comparison, part.cases, part.why_none, plot)
            for part, plot in zip(sections, plots, strict=True)
        ]
        (folder / TEXT).write_text("\n\n".join(["# Report", *texts]) + "\n", encoding="utf-8")
        (folder / PAGE).write_text(render_page(sections), encoding="utf-8")
    return left_out


def _section(report: OpenedReport, reports: Sequence[OpenedReport], data: Path | None, count: int) -> Section:
    cases, why_none = _cases(report, data, count)
    same = [report, *(other for other in reports if other is not report)]
    return Section(report, compare(report.benchmark, same), cases, why_none)


def _cases(report: OpenedReport, data: Path | None, count: int) -> tuple[list[Case], str]:
    """The gallery, or none and why: only data that were asked for must be there."""
    machine = report.content["provenance"].get("machine") or {}
    try:
        return gallery(report, data or Path(machine.get("data") or "data"), count), ""
    except (FileNotFoundError, ValueError) as error:
        if data is not None and report.score is not None:
            raise
        return [], " ".join(str(error).split()).rstrip(".")


def _plot_names(reports: Sequence[OpenedReport]) -> list[str]:
    return [
        f"{number:02d}-{re.sub(r'[^a-zA-Z0-9_.+-]', '_', report.benchmark)}.png"
        for number, report in enumerate(reports, 1)
    ]


__all__ = ["PAGE", "TEXT", "write_pages"]
