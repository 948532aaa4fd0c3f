"""Reports as one static page: everything inside one file, no script, nothing fetched.

Enters: what `opened`, `comparison` and `gallery` give. Leaves: HTML. What was asked and answered is anybody's text and
is escaped. (Engineering; no paper section.)
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

import desa2va

from .comparison import Comparison, heading
from .gallery import Case
from .markdown import show
from .opened import OpenedReport
from .plots import histogram_svg
from .published import missing_figures


@dataclass(frozen=True)
class Section:
    """One report on the page.

    Attributes:
        report, comparison, cases: of it. why_none: why there are no cases.
    """

    report: OpenedReport
    comparison: Comparison
    cases: Sequence[Case]
    why_none: str = ""

    @property
    def tables(self) -> list[tuple[dict[str, dict[str, Any]], dict[str, str]]]:
        """The figures by group, table by table, each with the figures' names and how they are shown."""
        return [
            (table, {name: heading(name) for values in table.values() for name in values})
            for table in self.report.tables()
        ]

    @property
    def notes(self) -> list[str]:
        """What the comparison's rows note, each once."""
        return list(dict.fromkeys(note for row in self.comparison.rows for note in row.notes))

    @property
    def histogram(self) -> Markup | None:
        """The distribution of scores; `None` where samples have none."""
        name, scores = self.report.score, list(self.report.scores.values())
        return None if name is None else Markup(histogram_svg(scores, name, self.report.highest))


def render_page(sections: Sequence[Section]) -> str:
    """The page.

    Args:
        sections: one per report, at least one.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).resolve().parent),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    title = sections[0].report.title if len(sections) == 1 else f"{len(sections)} reports"
    return environment.get_template("page.html.jinja").render(
        title=title,
        version=desa2va.__version__,
        sections=sections,
        show=show,
        beside=lambda groups, name: [values.get(name) for values in groups.values()],
        encoded=lambda content: base64.b64encode(content).decode(),
        missing=missing_figures() if any(section.comparison.metrics for section in sections) else [],
    )


__all__ = ["Section", "render_page"]
