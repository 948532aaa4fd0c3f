"""One report of a run, by whoever ends last.

What enters: the folder of a run. What leaves: `report.json`. Every process writes it at its end, one after the other,
each from everything that lies there; so the last one has the whole truth, and no process waits for another.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

from desa2va.processing.files import Claim, write_json

from .journal import all_rows

_COLUMNS = ["item", "kind", "status", "num_objects", "num_frames"]


def write_report(folder: Path, settings: dict[str, Any], total: int) -> dict[str, Any]:
    """Writes and returns the report.

    Args:
        folder: of the run. settings: of the run. total: items of the run.
    """
    lock = folder / ".report.lock"
    lock.touch()
    while True:
        try:
            with Claim(lock):
                report = _report(folder, settings, total)
                write_json(folder / "report.json", report, overwrite=True)
                return report
        except BlockingIOError:
            time.sleep(0.05)


def write_errors(folder: Path, rank: int, errors: dict[str, str]) -> None:
    """What one process could not do in this run: item -> why."""
    path = folder / f"errors-{rank:05d}.json"
    if errors:
        write_json(path, errors, overwrite=True)
    else:
        path.unlink(missing_ok=True)


def _report(folder: Path, settings: dict[str, Any], total: int) -> dict[str, Any]:
    errors: dict[str, str] = {}
    for path in sorted(folder.glob("errors-*.json")):
        errors |= json.loads(path.read_text(encoding="utf-8"))
    statuses, kinds, objects, frames = Counter(), Counter(), 0, 0
    seen: set[str] = set()
    for row in all_rows(folder, _COLUMNS):
        statuses[row["status"]] += 1
        objects += row["num_objects"]
        if row["item"] not in seen:
            seen.add(row["item"])
            kinds[row["kind"]] += 1
            frames += row["num_frames"]
    errors = {item: why for item, why in sorted(errors.items()) if item not in seen}
    return {
        **settings,
        "items": total,
        "done": len(seen),
        "failed": len(errors),
        "left": total - len(seen) - len(errors),
        "kinds": dict(sorted(kinds.items())),
        "frames": frames,
        "objects": objects,
        "statuses": dict(sorted(statuses.items())),
        "errors": errors,
    }


__all__ = ["write_errors", "write_report"]
