"""The table of the documentation is the one of the data."""

from pathlib import Path

import desa2va
from desa2va.eval.benchmarks.names import BENCHMARKS
from desa2va.eval.reports.overview import COLUMNS, FAMILIES, overview_table
from desa2va.eval.reports.published import load_published

PAGE = Path(desa2va.__file__).resolve().parent.parent / "docs" / "evaluation.md"


def test_the_page_has_the_table_of_the_data():
    """A figure mended in one place only would stand in two ways."""
    assert overview_table() in PAGE.read_text(encoding="utf-8")


def test_every_column_and_family_has_figures():
    found = {(figure.benchmark, figure.metric) for figure in load_published()}
    for benchmark, metric in COLUMNS.values():
        assert benchmark in BENCHMARKS
        assert (benchmark, metric) in found
    assert all(any(figure.model.startswith(family) for figure in load_published()) for family in FAMILIES)
