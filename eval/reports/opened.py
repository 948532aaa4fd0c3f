"""A report as a run wrote it, read and checked.

Enters: a run's folder or its `report.json`, or a report of RefShapes. Leaves: an `OpenedReport` of plain values.
(Engineering; no paper section.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from desa2va.eval.benchmarks.names import BENCHMARKS, ROBUSTNESS, open_benchmark
from desa2va.processing.files import read_json

from .refshapes import as_benchmark, is_refshapes

JUDGED = "score"
# By which samples are ranked, the first that they have, and its highest value.
SCORES = {"iou": 1, "jf": 1, "miou": 1, "right": 1, "right_official": 1, JUDGED: 3}
_NEEDED = {
    "figures": dict,
    "samples": list,
    "provenance": dict,
    "statuses": dict,
    "failed": list,
    "n": int,
    "protocol": str,
    "prompt": str,
}


@dataclass(frozen=True)
class OpenedReport:
    """A report.

    Attributes:
        path: of the file. content: all of it.
    """

    path: Path
    content: Mapping[str, Any]

    @property
    def benchmark(self) -> str:
        """Its name, e.g. `"refcoco-unc-val"`."""
        return self.content["benchmark"]

    @property
    def model(self) -> str:
        """What answered: the model as it was named, or the baseline."""
        provenance = self.content["provenance"]
        named = str((provenance.get("machine") or {}).get("model") or "no model")
        baseline = (provenance.get("model") or {}).get("baseline")
        return named if baseline is None else f"{baseline} baseline, {named}"

    @property
    def title(self) -> str:
        """Benchmark and model."""
        return f"{self.benchmark}, {self.model}"

    @property
    def samples(self) -> list[dict[str, Any]]:
        """Every sample with its own scores."""
        return self.content["samples"]

    @property
    def score(self) -> str | None:
        """The name of the score by which samples are ranked; `None` where samples have none."""
        return next((name for name in SCORES if any(_is_number(sample.get(name)) for sample in self.samples)), None)

    @property
    def highest(self) -> int:
        """The highest value that `score` can have."""
        return SCORES.get(self.score, 1)

    @property
    def scores(self) -> dict[int, float]:
        """The score of every sample that has one, by its place among the samples."""
        named = self.score
        found = {place: sample.get(named) for place, sample in enumerate(self.samples)}
        return {place: float(value) for place, value in found.items() if _is_number(value)}

    @property
    def scale(self) -> float:
        """What makes percent of a figure: 100 of fractions, else 1."""
        return 100.0 if open_benchmark(self.benchmark).unit == "fraction" else 1.0

    def figure(self, metric: str) -> float | None:
        """A figure by its dotted name, as the report has it; `None` where it has none."""
        found: Any = self.content["figures"]
        for name in metric.split("."):
            found = found.get(name) if isinstance(found, Mapping) else None
        return found if _is_number(found) else None

    def groups(self) -> dict[str, dict[str, Any]]:
        """The figures by group, plain values alone; those of no group are in the one named `""`."""
        figures = self.content["figures"]
        found = {"": figures, **{name: values for name, values in figures.items() if isinstance(values, Mapping)}}
        plain = {group: _plain(values) for group, values in found.items()}
        return {group: values for group, values in plain.items() if set(values) - {"n"}}

    def tables(self) -> list[dict[str, dict[str, Any]]]:
        """`groups`, as they go into tables: one with those that a table has figures in common with."""
        tables: list[dict[str, dict[str, Any]]] = []
        for group, values in self.groups().items():
            shared = (table for table in tables if any(set(own) & set(values) - {"n"} for own in table.values()))
            table = next(shared, None)
            if table is None:
                tables.append(table := {})
            table[group] = values
        return tables

    def settings(self) -> Iterator[tuple[str, Any]]:
        """What it was measured with: names by dots, plain values."""
        yield from _flat(self.content["provenance"])


def read_report(path: Path) -> OpenedReport:
    """Reads a report of a benchmark.

    Args:
        path: the file, or the folder of a run; also what `desa2va eval refshapes --json` wrote.

    Raises:
        FileNotFoundError: there is none. ValueError: it is no report of a benchmark of this package.
    """
    path = path / "report.json" if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no report {path}; `desa2va eval BENCHMARK --out DIR` writes DIR/report.json"
        )
    content = read_json(path)
    if is_refshapes(content):
        content = as_benchmark(content, str(path))
    if not isinstance(content, dict) or not _is_known(content.get("benchmark")):
        raise ValueError(f"{path} is no report of `desa2va eval BENCHMARK`; its 'benchmark' must be a known name")
    for name, kind in _NEEDED.items():
        if not isinstance(content.get(name), kind):
            raise ValueError(f"{path}: {name!r} must be there and of kind {kind.__name__}; the report is damaged")
    if not all(isinstance(sample, dict) and isinstance(sample.get("id"), str) for sample in content["samples"]):
        raise ValueError(f"{path}: every entry of 'samples' needs an 'id'; the report is damaged")
    return OpenedReport(path, content)


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value for name, value in values.items() if not isinstance(value, Mapping | list) and value is not None
    }


def _is_known(name: Any) -> bool:
    return isinstance(name, str) and name.removeprefix(f"{ROBUSTNESS}-") in BENCHMARKS


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


__all__ = ["JUDGED", "SCORES", "OpenedReport", "read_report"]
