"""A report made of parts: one that fails, or can not be measured here, is noted, and the others go on."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from desa2va.processing.files import write_file


class SkippedPartError(Exception):
    """A part that can not be measured here; the message says why."""


class PartRunner:
    """Runs parts by name, methods of its own where nothing else is said, one after the other, in this process.

    Args:
        parts: names; what `measure` returns for each goes into the report. threads: of this process, for the record.
        seconds: no part is begun after so many; no limit when omitted. path: a JSON file of the report as far as it
            has come; none when omitted.

    Attributes:
        report: `complete`, `provenance`, `part_seconds`, `skipped` and `failed` by part, and what the parts returned.
    """

    def __init__(
        self, parts: Sequence[str], threads: int, seconds: float | None = None, path: Path | None = None
    ) -> None:
        self.parts, self.report_path = parts, path
        self.end = None if seconds is None else time.perf_counter() + seconds
        self.report: dict[str, Any] = {
            "complete": False,
            "provenance": _provenance(threads),
            "part_seconds": {},
            "skipped": {},
            "failed": {},
        }

    def run(self) -> dict[str, Any]:
        """All parts; a part that fails is noted and the others go on."""
        for part in self.parts:
            print(f"{part} ...", file=sys.stderr, flush=True)
            start = time.perf_counter(), time.process_time()
            try:
                if self.end is not None and start[0] > self.end:
                    raise SkippedPartError("the time was up")
                self.report.update(self.measure(part))
            except SkippedPartError as reason:
                self.report["skipped"][part] = str(reason)
            except Exception as error:
                self.report["failed"][part] = f"{type(error).__name__}: {error}"
            wall, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
            self.report["part_seconds"][part] = {"wall": round(wall, 1), "cpu": round(cpu, 1)}
            self.write()
            print(f"{part}: {wall:.0f} s", file=sys.stderr, flush=True)
        self.report["complete"] = not self.report["failed"]
        self.write()
        return self.report

    def measure(self, part: str) -> dict[str, Any]:
        """What a part gives to the report; by default its method's."""
        return getattr(self, part)()

    def write(self) -> None:
        """Keeps the report as far as it has come, where there is a path; called after every part, whole or not at
        all.
        """
        if self.report_path is None:
            return
        self.report_path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.report, indent=1) + "\n"
        write_file(self.report_path, lambda draft: draft.write_text(text, encoding="utf-8"), overwrite=True)


def _provenance(threads: int) -> dict[str, Any]:
    """Machine and versions."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "weights": "random, seed 0",
        "processor": _processor_name(),
        "cores": os.cpu_count(),
        "threads": threads,
        "gpu": gpu,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in ("torch", "transformers", "numpy")},
    }


def _processor_name() -> str:
    """The processor's name, where the system tells."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


__all__ = ["PartRunner", "SkippedPartError"]
