"""What the Hub reads of a report: `.eval_results/*.yaml`, and the model index of the card.

Enters: reports and the folder of the model that they are about. Leaves: its `.eval_results`, `evaluation.json` and
`README.md`. (The Hub's page "Evaluation Results"; no paper section.)
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import metadata_load, metadata_save

import desa2va
from desa2va.card import EVALUATION_FILE, METRICS, index_results, named_reports, write_card
from desa2va.eval.provenance import weights_sha256
from desa2va.eval.report_file import write_report
from desa2va.processing.files import read_json, write_file

from .opened import OpenedReport

FOLDER = ".eval_results"
HUB_DATASETS = {"refcoco_m-validation": "moondream/refcoco-m"}  # those that the runner itself reads from there


def add_to_model(reports: Sequence[OpenedReport], folder: Path, dataset: str | None = None) -> list[str]:
    """Writes reports into a model folder.

    Args:
        reports: of this model. folder: of the model. dataset: Hub id of the data set, `owner/name` or
            `owner/name:task`, for reports whose own is not known here.

    Returns:
        What was not written, a sentence each.

    Raises:
        FileNotFoundError: the folder holds no weights. ValueError: a report is of other weights, or names no figure.
    """
    weights = weights_sha256(folder)
    for report in reports:
        told = (report.content["provenance"].get("model") or {}).get("weights_sha256")
        if told != weights:
            raise ValueError(f"{report.path} is of weights {told}, {folder} holds {weights}")
    left_out = [sentence for report in reports if (sentence := _write_entry(report, folder, dataset))]
    _write_index(reports, folder)
    return left_out


def headline(report: OpenedReport) -> dict[str, Any]:
    """The main figures of a report, those of its first group that has any.

    Raises:
        ValueError: no group has one.
    """
    groups = report.groups()
    for name in ("", "overall", *groups):
        found = {key: groups.get(name, {}).get(key) for key in METRICS}
        found = {key: value for key, value in found.items() if isinstance(value, int | float)}
        if found:
            return {"n": report.content["n"], **found}
    raise ValueError(f"{report.path} has none of the figures {', '.join(METRICS)}; the truth may not be public")


def eval_result(report: OpenedReport, dataset: str) -> list[dict[str, Any]]:
    """The entry for `.eval_results`: the first main figure, in percent where it is a fraction.

    Args:
        dataset: `owner/name` of a benchmark on the Hub, or `owner/name:task`.
    """
    name, _, task = dataset.partition(":")
    _, (metric, value), *_ = headline(report).items()
    provenance = report.content["provenance"]
    notes = (
        f"{report.benchmark}, {METRICS[metric][0]}, {report.content['n']} samples; desa2va {desa2va.__version__}; "
        f"weights sha256 {provenance['model']['weights_sha256']}, data sha256 {provenance['data_sha256']}"
    )
    scored = {"id": name, "task_id": task or "default"}
    return [{"dataset": scored, "value": round(report.scale * value, 2), "notes": notes}]


def _write_entry(report: OpenedReport, folder: Path, dataset: str | None) -> str | None:
    """Writes one file; a sentence where it can not be."""
    named = HUB_DATASETS.get(report.benchmark) or dataset
    if named is None:
        return f"{report.benchmark}: no {FOLDER}, its data set on the Hub is not known; name it with --hub-dataset"
    text = yaml.safe_dump(eval_result(report, named), sort_keys=False, allow_unicode=True, width=1000)
    path = folder / FOLDER / f"{report.benchmark}.yaml"
    path.parent.mkdir(exist_ok=True)
    write_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"), overwrite=True)
    return None


def _write_index(reports: Sequence[OpenedReport], folder: Path) -> None:
    """Adds figures to `evaluation.json`, from which the card is rendered; into a hand-written card the index alone."""
    path, page = folder / EVALUATION_FILE, folder / "README.md"
    evaluation = named_reports(read_json(path)) if path.is_file() else {}
    evaluation |= {report.benchmark: headline(report) for report in reports}
    write_report(path, json.loads(json.dumps(evaluation)))
    if write_card(folder) is None:
        write_file(page, lambda temporary: _merge_index(page, temporary, index_results(evaluation)), overwrite=True)


def _merge_index(page: Path, temporary: Path, results: list[dict[str, Any]]) -> None:
    """A hand-written card with these results beside those of other data sets that it has."""
    facts = metadata_load(page) or {}
    (kept, *_) = facts.get("model-index") or [{"name": page.resolve().parent.name, "results": []}]
    ours = {result["dataset"]["name"] for result in results}
    others = [result for result in kept["results"] if result.get("dataset", {}).get("name") not in ours]
    facts["model-index"] = [{**kept, "results": [*others, *results]}]
    temporary.write_text(page.read_text(encoding="utf-8"), encoding="utf-8")
    metadata_save(temporary, facts)


__all__ = ["FOLDER", "HUB_DATASETS", "add_to_model", "eval_result", "headline"]
