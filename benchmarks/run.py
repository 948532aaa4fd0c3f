"""The suite: `python -m benchmarks.run NAME ... [--json FILE]`, from the root of a checkout; docs/performance.md.

Enters: names of suites (`all` for all). Leaves: a table with the change against the stored baseline, and a JSON with
the machine. Times are processor time of one thread; on a shared machine they still vary by a tenth or more, and so do
the floors, which are measured in the same run.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from .parts import PartRunner
from .suites import SUITES, Settings

ROOT = Path(__file__).resolve().parents[1]
BASELINE = Path(__file__).with_name("baseline.json")
PAGE, PLOT = ROOT / "docs" / "performance.md", ROOT / "docs" / "images" / "stages.png"
BEGIN, END = "<!-- python -m benchmarks.run: begin -->", "<!-- python -m benchmarks.run: end -->"


class SuiteRunner(PartRunner):
    """Runs suites one after the other; one that fails is noted and the others go on.

    Args:
        names: of `SUITES`. settings: how much is measured. path: where the report is written after every suite.
    """

    def __init__(self, names: list[str], settings: Settings, path: Path | None) -> None:
        super().__init__(names, torch.get_num_threads(), path=path)
        self.settings = settings
        self.report["provenance"]["weights"] = "shipped for answers and start, else random, seed 0"
        self.report |= {"settings": asdict(settings), "rows": {}}

    def measure(self, part: str) -> dict[str, Any]:
        """A suite's rows join those of the others."""
        self.report["rows"][part] = SUITES[part](self.settings)
        return {}

    def run(self) -> dict[str, Any]:
        """All suites, and the machine's rates."""
        rates = asdict(self.settings.rates)
        self.report["rates"] = {
            "gigaflops_of_a_large_product": round(rates["operations"] / 1e9, 2),
            "gigabytes_per_second_of_a_large_copy": round(rates["bytes"] / 1e9, 2),
        }
        return super().run()


def table(report: Mapping[str, Any], baseline: Mapping[str, Any] | None) -> list[str]:
    """Lines of Markdown: every row with its floor, how often that fits into it, and its change.

    Args:
        report, baseline: of `SuiteRunner`; rows that the baseline lacks, or that were measured otherwise, have no
            change.
    """
    known = baseline if baseline is not None and _work(baseline) == _work(report) else {"rows": {}}
    lines = ["| | measured | floor | over the floor | to the baseline |", "|---|---|---|---|---|"]
    for suite, rows in report["rows"].items():
        for name, row in rows.items():
            floor = row.get("floor")
            over = f"{row['value'] / floor:.1f}" if floor else ""
            before = known["rows"].get(suite, {}).get(name)
            change = f"{row['value'] / before['value']:.2f}" if before and before["value"] else ""
            shown = "" if floor is None else f"{floor:.3g} {row['unit']}"
            lines.append(f"| {suite}: {name} | {row['value']:.4g} {row['unit']} | {shown} | {over} | {change} |")
    return lines


def _work(report: Mapping[str, Any]) -> dict[str, Any]:
    """What is done in a run, however often."""
    return {name: value for name, value in report["settings"].items() if name != "repeats"}


def rendered(report: Mapping[str, Any]) -> str:
    """What stands in docs/performance.md between the two marks."""
    about, rates = report["provenance"], report["rates"]
    versions = ", ".join(f"{name} {about[name]}" for name in ("python", "torch", "transformers"))
    head = (
        f"{about['processor']}, {about['threads']} thread of {about['cores']} shared cores; {versions}. "
        f"A large product runs at {rates['gigaflops_of_a_large_product']:g} GFLOP/s, a large copy at "
        f"{rates['gigabytes_per_second_of_a_large_copy']:g} GB/s."
    )
    return "\n".join(
        [BEGIN, "", head, "", *table(report, None), "", "![Stages and their floors](images/stages.png)", "", END]
    )


def render(report: Mapping[str, Any], page: Path, plot: Path) -> None:
    """Writes the table into the page and the plot beside it.

    Raises:
        ValueError: the page has no marks.
    """
    text = page.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"{page} needs the lines {BEGIN} and {END}, once each")
    before, after = text[: text.index(BEGIN)], text[text.index(END) + len(END) :]
    page.write_text(before + rendered(report) + after, encoding="utf-8")
    draw(report["rows"]["stages"], plot)


def draw(rows: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Bars of the stages' milliseconds with their floors, on a logarithmic axis."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 0.4 * len(rows) + 1), layout="constrained")
    axes, names = figure.subplots(), list(rows)[::-1]
    axes.barh(names, [rows[name]["value"] for name in names], color="#8db3d9", label="measured")
    axes.plot([rows[name]["floor"] for name in names], names, "|", color="#b03030", markersize=14, label="floor")
    axes.set_xscale("log")
    axes.set_xlabel("milliseconds a call, one CPU thread")
    axes.legend()
    figure.savefig(path, dpi=110)


def parse_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", choices=[*SUITES, "all"], metavar="NAME", help=", ".join([*SUITES, "all"]))
    parser.add_argument("--size", choices=("tiny", "large"), default="tiny", help="networks of stages, peer, memory")
    parser.add_argument("--repeats", type=int, default=5, help="tries, of which the least counts; %(default)s")
    parser.add_argument("--frames", type=int, default=8, help="of the clip of stages; %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the report goes")
    parser.add_argument(
        "--keep", action="store_true", help="the report becomes the baseline and the tables of the page"
    )
    options = parser.parse_args(arguments)
    options.names = list(SUITES) if "all" in options.names else list(dict.fromkeys(options.names))
    if options.keep and set(options.names) != set(SUITES):
        parser.error("--keep needs all: a baseline has every suite")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Measures and prints; 1 where a suite failed."""
    options = parse_options(arguments)
    torch.set_num_threads(1)
    report = SuiteRunner(options.names, Settings(options.size, options.repeats, options.frames), options.json).run()
    baseline = json.loads(BASELINE.read_text(encoding="utf-8")) if BASELINE.is_file() else None
    if baseline is not None and baseline["provenance"]["processor"] != report["provenance"]["processor"]:
        print("the baseline is another machine's: compare what is over the floor, not the change", file=sys.stderr)
    print("\n".join(table(report, baseline)))
    for name, reason in report["failed"].items():
        print(f"{name}: {reason}", file=sys.stderr)
    if options.keep and report["complete"]:
        BASELINE.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        render(report, PAGE, PLOT)
    return int(bool(report["failed"]))


if __name__ == "__main__":
    sys.exit(main())

__all__ = ["SuiteRunner", "draw", "main", "parse_options", "render", "table"]
