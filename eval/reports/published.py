"""Figures of papers as data: `eval/published.json`, read and checked.

Enters: the file. Leaves: one `Published` for every figure that was read in a source, with the benchmark of this
project that measures the same, if there is one. (Tables of the paper and of its peers; no paper section.)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from desa2va.processing.files import read_json

FILE = Path(__file__).resolve().parent.parent / "published.json"


@dataclass(frozen=True)
class Published:
    """One figure.

    Attributes:
        model, variant, generation: whose: a variant of an ablation, the base model of the weights; empty where none.
        value: as printed. unit: `"percent"`, or what else it is.
        column: the table's own name for what is measured. benchmark: this project's name for it, `None` where the
            project has none. metric: of the benchmark's figures, by dots, e.g. `"overall.jf"`.
        source: its short name and the table. url: its address.
        assumed: what the table does not state and was supplied here; empty where nothing.
    """

    model: str
    variant: str
    generation: str
    value: float
    unit: str
    column: str
    benchmark: str | None
    metric: str
    source: str
    url: str
    assumed: str

    @property
    def who(self) -> str:
        """Model with what tells it from others of its name."""
        more = [word for word in (self.generation, self.variant) if word and word not in self.model]
        return f"{self.model} ({'; '.join(more)})" if more else self.model


@cache
def load_published(path: Path = FILE) -> tuple[Published, ...]:
    """All figures in the file's order.

    Raises:
        ValueError: a table whose source is unknown, or a row of another length than the columns.
    """
    content = read_json(path)
    return tuple(figure for table in content["tables"] for figure in _figures(table, content["sources"], path))


def _figures(table: dict[str, Any], sources: dict[str, Any], path: Path) -> list[Published]:
    if table["source"] not in sources:
        raise ValueError(f"{path}: table {table['table']} names the source {table['source']!r}, which is not listed")
    source = sources[table["source"]]
    found = []
    for row in table["rows"]:
        if len(row["values"]) != len(table["columns"]):
            raise ValueError(
                f"{path}: {source['title']}, table {table['table']}: {row['model']} has {len(row['values'])} values "
                f"for {len(table['columns'])} columns"
            )
        for column, value in zip(table["columns"], row["values"], strict=True):
            if value is not None:
                found.append(_figure(table, source, row, column, value))
    return found


def _figure(table: dict, source: dict, row: dict, column: dict, value: float) -> Published:
    return Published(
        model=row["model"],
        variant=row.get("variant", ""),
        generation=row.get("generation", ""),
        value=value,
        unit=column.get("unit", "percent"),
        column=column["as"],
        benchmark=column["benchmark"],
        metric=column["metric"],
        source=f"{source['short']}, table {table['table']}",
        url=source["url"],
        assumed=column.get("assumed", ""),
    )


def published_size(benchmark: str, path: Path = FILE) -> int | None:
    """How many samples the published split has; `None` where that was not read."""
    return read_json(path)["sizes"].get(benchmark)


def missing_figures(path: Path = FILE) -> list[dict[str, str]]:
    """What was looked for and not found: `what` and `why`."""
    return read_json(path)["missing"]


__all__ = ["FILE", "Published", "load_published", "missing_figures", "published_size"]
