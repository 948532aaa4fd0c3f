"""Consistency by round trip: a model segments with an expression, and its masks are compared with the masklet.

Enters: the written data set and a DeSa2VA (or Sa2VA). Leaves: the mean IoU of every expression over the annotated
frames, kept line by line, so that a killed measurement goes on. (Engineering; no paper section.)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from statistics import mean
from typing import Any

from desa2va.eval.finetune import evaluate
from desa2va.eval.line_file import LineWriter, check_same, parsed_line, read_header, read_lines
from desa2va.training.data.readers import read_finetune
from desa2va.training.data.records import Record, RecordError

from .assemble import SPLITS

FORMAT = "desa2va round trip 1"
CONSISTENT = 0.5  # IoU


def round_trip(dataset: Path, path: Path, model: Any, processor: Any, name: str) -> dict[str, Any]:
    """Measures what is not measured yet, and sums up.

    Args:
        dataset: what `write_dataset` wrote. path: where the measured IoUs are kept. model, processor: who segments.
        name: of the model.

    Returns:
        `model`, `mean_iou`, the share that is `consistent`, and `scores`: by kind, and every expression.

    Raises:
        ValueError: the file was measured with another model; or a record that can not be read.
    """
    header, known = {"format": FORMAT, "model": name}, {}
    if path.is_file() and (found := read_header(path, FORMAT)) is not None:
        check_same(path, found, header)
        for start, line in read_lines(path):
            entry = parsed_line(path, line, start)
            known[entry["video"], entry["object"], entry["text"]] = entry
    scores = []
    with LineWriter(path, header) as writer:
        for split in SPLITS:
            table = dataset / split / "expressions.jsonl"
            entries = [json.loads(line) for line in table.read_text(encoding="utf-8").splitlines()]
            for entry, record in zip(entries, read_finetune(table) if entries else (), strict=True):
                if isinstance(record, RecordError):
                    raise record
                scores += _measured(entry, record, known, writer, (model, processor))
    kinds = {kind: [entry["iou"] for entry in scores if entry["kind"] == kind] for kind in ("long", "short")}
    return {
        "model": name,
        **{kind: _summed(ious) for kind, ious in kinds.items() if ious},
        "least": sorted(scores, key=lambda entry: entry["iou"])[:30],
    }


def _measured(
    entry: dict[str, Any], record: Record, known: Mapping[tuple, dict], writer: LineWriter, who: tuple[Any, Any]
) -> list[dict[str, Any]]:
    """The scores of a record; asked together, so that its frames are encoded once."""
    video = entry["video"] if isinstance(entry["video"], str) else str(Path(entry["video"][0]).parent)
    named = list(zip(entry["object"], entry["kind"], entry["text"], strict=True))
    keys = [(video, number, text) for number, _, text in named]
    if all(key in known for key in keys):
        return [known[key] for key in keys]
    found = evaluate(*who, [record])["expressions"]
    scores = [
        {"video": video, "object": number, "kind": kind, "text": text, "iou": row["iou"]}
        for (number, kind, text), row in zip(named, found, strict=True)
    ]
    for score in scores:
        writer.append(score)
    return scores


def _summed(ious: list[float]) -> dict[str, Any]:
    share = sum(iou >= CONSISTENT for iou in ious) / len(ious)
    return {"count": len(ious), "mean_iou": round(mean(ious), 4), "consistent": round(share, 4)}


__all__ = ["CONSISTENT", "round_trip"]
