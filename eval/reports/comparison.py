"""Ours beside theirs: the figures of one report and all published ones of the same benchmark.

Enters: reports and `published`. Leaves: a table of plain cells in percent; an empty cell says why it is empty.
(Paper tables 1 to 9 and those of its peers.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from desa2va.eval.benchmarks.names import open_benchmark

from .opened import OpenedReport
from .published import Published, load_published, published_size

_NAMES = {
    "ciou": "cIoU",
    "giou": "gIoU",
    "j": "J",
    "f": "F",
    "jf": "J&F",
    "ap50": "AP50",
    "miou": "mIoU",
    "meteor": "METEOR",
    "cider": "CIDEr",
}


@dataclass(frozen=True)
class Row:
    """One line of a comparison.

    Attributes:
        who: the model. source, url: where its figures stand. cells: a number per column, or `None`.
        is_ours: whether it is a report of this project.
        notes: what was supplied to read the source, or why cells of ours are empty.
    """

    who: str
    source: str
    url: str
    cells: tuple[float | None, ...]
    is_ours: bool
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """All that is known about one benchmark.

    Attributes:
        benchmark: its name. metrics: of its figures, by dots. rows: ours first.
    """

    benchmark: str
    metrics: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def headings(self) -> list[str]:
        """The metrics as a reader knows them."""
        return [heading(metric) for metric in self.metrics]


def compare(benchmark: str, reports: Sequence[OpenedReport] = ()) -> Comparison:
    """Reports of a benchmark beside what was published.

    Ablations of papers are left out: their variants compete with each other, not with a report.

    Args:
        benchmark: its name. reports: of it; others are passed over.
    """
    published = [figure for figure in load_published() if figure.benchmark == benchmark and not figure.variant]
    metrics = tuple(dict.fromkeys(figure.metric for figure in published))
    own = [_ours(report, metrics) for report in reports if report.benchmark == benchmark]
    return Comparison(benchmark, metrics, (*own, *_theirs(published, metrics)))


def heading(metric: str) -> str:
    """`overall.jf` as `J&F overall`."""
    *group, name = metric.split(".") if "@" not in metric else [metric]
    name, error = (name.removesuffix("_se"), ["± error"]) if name.endswith("_se") else (name, [])
    return " ".join([_NAMES.get(name, name.replace("_", " ")), *error, *(word.replace("_", " ") for word in group)])


def _ours(report: OpenedReport, metrics: tuple[str, ...]) -> Row:
    values = [report.figure(metric) for metric in metrics]
    cells = tuple(None if value is None else report.scale * value for value in values)
    empty = [heading(metric) for metric, value in zip(metrics, values, strict=True) if value is None]
    notes = [f"{', '.join(empty)}: {_why_empty(report)}"] if empty else []
    return Row(report.model, "this report", "", cells, True, (*notes, _about_data(report)))


def _about_data(report: OpenedReport) -> str:
    """Whether the samples are those of the published split, as far as their number tells."""
    count, size = report.content["n"], published_size(report.benchmark)
    if size is not None and count != size:
        return f"{count} samples where the published split has {size}: other data, the figures do not compare"
    return f"{count} samples" + (", as many as the published split has" if size is not None else "")


def _why_empty(report: OpenedReport) -> str:
    benchmark = open_benchmark(report.benchmark)
    if benchmark.scores is None:
        return f"the truth is not public; the server scores {benchmark.submission.file}"
    return str(report.content["figures"].get("captions") or "there was nothing to compute it from")


def _theirs(published: list[Published], metrics: tuple[str, ...]) -> list[Row]:
    """One row for a model in a table; a figure repeated by a second table of a source is told once."""
    tables: dict[tuple[str, str], dict[str, Published]] = {}
    for figure in published:
        tables.setdefault((figure.who, figure.source), {})[figure.metric] = figure
    rows: dict[tuple, Row] = {}
    for (who, source), figures in tables.items():
        cells = tuple(figures[metric].value if metric in figures else None for metric in metrics)
        first = next(iter(figures.values()))
        notes = tuple(dict.fromkeys(figure.assumed for figure in figures.values() if figure.assumed))
        rows.setdefault((who, first.url, cells), Row(who, source, first.url, cells, False, notes))
    return list(rows.values())


__all__ = ["Comparison", "Row", "compare", "heading"]
