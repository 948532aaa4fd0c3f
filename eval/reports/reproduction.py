"""Is a report what its model says? Some of its samples are asked again, and scores compared in pairs.

Enters: a report, and the model and data that it names. Leaves: both scores of every sample asked, a paired test, and
whether they agree. Whole units are asked, since what shares a batch decides the last bits of a mask; they are the same
every time. (Engineering; no paper section.)
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import wilcoxon

from desa2va.eval.benchmarks.asking import answer_or_fail
from desa2va.eval.benchmarks.names import ROBUSTNESS, open_benchmark
from desa2va.eval.benchmarks.processes import Processes
from desa2va.eval.benchmarks.program import loaded_answerer
from desa2va.eval.benchmarks.runner import Run

from .opened import JUDGED, OpenedReport

TOLERANCE = 0.01  # of the mean absolute difference
NOISE = 0.001  # no sample differs by more: last bits, however one-sided
SIGNIFICANT = 0.05
_GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class Pair:
    """One sample asked again.

    Attributes:
        id: of the sample. before, now: its scores. status: then and now, as in `Answer`.
    """

    id: str
    before: float
    now: float
    status: tuple[str, str]


@dataclass(frozen=True)
class Reproduction:
    """What came of it.

    Attributes:
        pairs: samples with both scores. p_value: Wilcoxon's signed-rank test of the differences, two-sided (scipy), 1
            without any. notes: settings that differ from those of the report, a sentence each.
    """

    pairs: tuple[Pair, ...]
    p_value: float
    notes: tuple[str, ...]

    @property
    def differences(self) -> np.ndarray:
        """Now minus then, float `(n,)`."""
        return np.array([pair.now - pair.before for pair in self.pairs])

    @property
    def identical(self) -> bool:
        """Whether every score and status is what it was."""
        return not self.differences.any() and all(pair.status[0] == pair.status[1] for pair in self.pairs)

    @property
    def agrees(self) -> bool:
        """Whether differences are small and without a direction, or too small to matter."""
        sizes = np.abs(self.differences)
        return bool(sizes.max() <= NOISE or (sizes.mean() <= TOLERANCE and self.p_value >= SIGNIFICANT))


def reproduce(
    report: OpenedReport, limit: int, model: str | None = None, data: Path | None = None, device: str | None = None
) -> Reproduction:
    """Asks at least `limit` samples of a report again.

    Args:
        report: with scores of its samples. limit: rounded up to whole units, at most all.
        model, data: where they are now; by default where the report says. device: by default cuda where it is there.

    Raises:
        FileNotFoundError: model or data are not there. ValueError: they are others than the report's, or its samples
            have no scores.
    """
    benchmark, told = open_benchmark(report.benchmark), report.content["provenance"]
    if report.score is None or benchmark.scores is None:
        raise ValueError(f"{report.path}: its samples have no scores to compare with")
    if report.score == JUDGED:
        raise ValueError(f"{report.path}: its scores are a judge's, who is not part of this package")
    machine = told.get("machine") or {}
    data = data or Path(machine.get("data") or "data")
    chosen = (told.get("limit"), told.get("batch_size", 16), told.get("prompt"))
    plan = Run(benchmark, data, report.path.parent, *chosen).plan()
    _same("data", str(data), plan.data_sha256, told.get("data_sha256"))
    args = _arguments(report, model or machine.get("model"), data, device)
    answerer, now, _ = loaded_answerer(args, Processes())
    _same("weights", str(args.model), now.get("weights_sha256"), told["model"].get("weights_sha256"))
    _same("SAM-2", str(args.sam2), now.get("sam2_sha256"), told["model"].get("sam2_sha256"))
    scores, before = benchmark.scores(data), {sample["id"]: sample for sample in report.samples}
    pairs = []
    for unit in spread_units([len(unit) for unit in plan.units], limit):
        questions = plan.questions(unit)
        for question, answer in zip(questions, answer_or_fail(answerer, questions), strict=True):
            value, old = scores.add(question, answer).get(report.score), before[question.id]
            if value is not None and old.get(report.score) is not None:
                status = str(old.get("status")), answer.status
                pairs.append(Pair(question.id, float(old[report.score]), float(value), status))
    return compared(pairs, told["model"], now)


def compared(pairs: Sequence[Pair], told: dict[str, Any], now: dict[str, Any]) -> Reproduction:
    """The test over pairs, and what differs between two models' settings.

    Raises:
        ValueError: no pair.
    """
    if not pairs:
        raise ValueError("none of the samples asked again has a score; ask for more with --limit")
    differences = np.array([pair.now - pair.before for pair in pairs])
    p_value = float(wilcoxon(differences).pvalue) if differences.any() else 1.0
    keys = sorted(key for key in {*told, *now} if told.get(key) != now.get(key))
    notes = tuple(f"{key} was {told.get(key)}, is {now.get(key)}" for key in keys)
    return Reproduction(tuple(pairs), p_value, notes)


def spread_units(sizes: Sequence[int], limit: int) -> list[int]:
    """Numbers of units that hold at least `limit` samples, spread evenly and the same every time.

    Args:
        sizes: samples of every unit. limit: more than there are means all.
    """
    found, count = [], 0
    for unit in sorted(range(len(sizes)), key=lambda unit: (unit * _GOLDEN) % 1):
        if count >= limit:
            break
        found.append(unit)
        count += sizes[unit]
    return sorted(found)


def summarise(report: OpenedReport, found: Reproduction) -> str:
    """A few lines of text."""
    verdict = "identical" if found.identical else "agrees" if found.agrees else "DOES NOT AGREE"
    before, now = (np.mean([getattr(pair, name) for pair in found.pairs]) for name in ("before", "now"))
    differences = found.differences
    lines = [
        f"{report.title}: {len(found.pairs)} of {len(report.samples)} samples asked again: {verdict}",
        f"mean {report.score} {before:.4f} then, {now:.4f} now; mean absolute difference "
        f"{np.abs(differences).mean():.4f}, largest {np.abs(differences).max():.4f}; p {found.p_value:.3g} "
        "(Wilcoxon signed rank)",
        *found.notes,
    ]
    worst = sorted(found.pairs, key=lambda pair: -abs(pair.now - pair.before))[:3]
    lines += [
        f"{pair.id}: {pair.before:.4f} ({pair.status[0]}) then, {pair.now:.4f} ({pair.status[1]}) now"
        for pair in worst
        if pair.now != pair.before or pair.status[0] != pair.status[1]
    ]
    return "\n".join(lines)


def _same(what: str, place: str, now: str | None, told: str | None) -> None:
    if now != told:
        raise ValueError(f"other {what} than the report's: {place} has the hash {now}, the report says {told}")


def _arguments(report: OpenedReport, model: str | None, data: Path, device: str | None) -> argparse.Namespace:
    """Those of `desa2va eval` with which the model of the report was loaded.

    Raises:
        ValueError: the report names none.
    """
    told = report.content["provenance"]["model"]
    if model is None and told.get("baseline") != "whole":
        raise ValueError(f"{report.path} does not say where its model was; name it with --model")
    of = report.benchmark.removeprefix(f"{ROBUSTNESS}-")
    return argparse.Namespace(
        benchmark=ROBUSTNESS if of != report.benchmark else report.benchmark,
        of=of,
        model=model,
        data=data,
        device=device,
        sam2=(report.content["provenance"].get("machine") or {}).get("sam2"),
        dtype=told.get("dtype"),
        baseline=told.get("baseline"),
    )


__all__ = ["Pair", "Reproduction", "compared", "reproduce", "spread_units", "summarise"]
