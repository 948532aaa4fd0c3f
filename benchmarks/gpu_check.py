"""One command for one card, in under eight minutes: is everything right there, how fast, in how much memory?

Enters: a device. Leaves: one JSON on the standard output. From the root of a checkout:

    python -m benchmarks.gpu_check > gpu.json

Answers, streams and sessions of the shipped model are compared with the CPU's. Parts that fail are noted, with the
error, and the others go on; none is begun after `--seconds`. `--device cpu --quick` runs the script without a GPU.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch

import desa2va

from . import gpu_speed, scenarios
from .gpu_answers import answer_seconds
from .gpu_speed import gpu_fps
from .gpu_training import lora_speeds
from .parts import PartRunner, SkippedPartError
from .random_models import random_model
from .training_steps import STEPS, take_step

PARTS = ("tests", "training", "answers_fp32", "answers_bf16", "answers_replayed", "speed_replayed", "requests", "lora")
PARTS += ("speed_bf16", "speed_compiled", "speed_fp32")
PRESETS, LORA_PRESETS = ("1b", "4b", "8b", "26b"), ("1b", "4b")
COMPARED = ("picture", "clicks_on_a_video", "video_consistent", "video_memory", "stream", "session")
QUICK = ("picture", "stream", "session")
LEAST_IOU = 0.99
TESTS_SECONDS = 240


def parse_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_check", description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", help="what is checked (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="few frames and small networks: tries the script itself")
    parser.add_argument("--parts", default=",".join(PARTS), help="some of %(default)s")
    parser.add_argument("--json", type=Path, help="also written here after every part, should one never end")
    parser.add_argument("--seconds", type=float, default=420, help="no part is begun after so many (%(default)s)")
    options = parser.parse_args(arguments)
    options.parts = [part for part in options.parts.split(",") if part]
    unknown = [part for part in options.parts if part not in PARTS]
    if unknown:
        parser.error(f"unknown parts {', '.join(unknown)}; choose from {', '.join(PARTS)}")
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error("no GPU on this machine; --device cpu --quick tries the script without one")
    return options


class GpuCheck(PartRunner):
    """The parts.

    Args:
        options: of `parse_options`.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__(options.parts, torch.get_num_threads(), options.seconds, options.json)
        self.device, self.quick = torch.device(options.device), options.quick
        self.report = {"device": options.device, "quick": options.quick, **self.report}
        self.report["provenance"]["weights"] = "random, seed 0, where speed is measured; shipped elsewhere"

    def tests(self) -> dict[str, Any]:
        """The tests marked `gpu`, in a process of their own."""
        command = [sys.executable, "-m", "pytest", "-m", "gpu", "tests/devices/test_gpu.py"]
        root = Path(__file__).resolve().parents[1]
        ended = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=TESTS_SECONDS)
        lines = ended.stdout.strip().splitlines()
        if ended.returncode:
            raise RuntimeError("\n".join(line for line in lines[-40:] if line.startswith(("E ", "FAILED", "ERROR"))))
        return {"tests": lines[-1]}

    def training(self) -> dict[str, Any]:
        """One step of every phase in bfloat16."""
        figures, failed = self.report.setdefault("training", {}), []
        for name in STEPS:
            with tempfile.TemporaryDirectory() as folder, self._measured(figures, name):
                try:
                    step = take_step(name, Path(folder, "run"), bf16=True, use_cpu=self.device.type == "cpu")
                except Exception as error:
                    step = {"error": f"{type(error).__name__}: {error}"}
                    failed.append(name)
                figures[name] = step
        if failed:
            raise RuntimeError(f"no step of {', '.join(failed)}; see training")
        return {}

    def answers_fp32(self) -> dict[str, Any]:
        """The shipped model against the CPU; the same to a hair."""
        return self._answers("fp32", torch.float32, LEAST_IOU)

    def answers_bf16(self) -> dict[str, Any]:
        """The same in bfloat16, which may differ more."""
        return self._answers("bf16", torch.bfloat16, 0.9)

    def answers_replayed(self) -> dict[str, Any]:
        """In float32 with networks recorded as CUDA graphs."""
        if self.device.type == "cpu":
            raise SkippedPartError("graphs are recorded on a GPU")
        return self._answers("replayed", torch.float32, LEAST_IOU, replayed=True)

    def requests(self) -> dict[str, Any]:
        """Seconds of a request about five frames, with language models of the published sizes."""
        return self._of_presets("requests", PRESETS, answer_seconds)

    def lora(self) -> dict[str, Any]:
        """LoRA fine-tuning with language models of the published sizes."""
        return self._of_presets("lora", LORA_PRESETS, lora_speeds)

    def _of_presets(
        self, name: str, presets: tuple[str, ...], measure: Callable[[str, torch.device], dict[str, Any]]
    ) -> dict[str, Any]:
        figures = self.report.setdefault(name, {})
        for preset in ("tiny",) if self.quick else presets:
            with self._measured(figures, preset):
                figures[preset] = measure(preset, self.device)
            self.write()
            gc.collect()
        return {}

    def speed_bf16(self) -> dict[str, Any]:
        """Frames per second in bfloat16 autocast."""
        return self._speed("bf16", torch.bfloat16)

    def speed_replayed(self) -> dict[str, Any]:
        """Frames per second in bfloat16 autocast, networks recorded as CUDA graphs."""
        return self._speed("replayed", torch.bfloat16, "replayed")

    def speed_fp32(self) -> dict[str, Any]:
        """Frames per second in float32."""
        return self._speed("fp32", torch.float32)

    def speed_compiled(self) -> dict[str, Any]:
        """Frames per second in bfloat16 autocast, networks compiled."""
        if self.device.type == "cpu":
            raise SkippedPartError("networks are compiled for a GPU")
        return self._speed("compiled", torch.bfloat16, "compiled")

    def _answers(self, name: str, dtype: torch.dtype, least: float, replayed: bool = False) -> dict[str, Any]:
        """IoU with the CPU's masks in float32 by scenario, and whether the texts are the same."""
        reference = desa2va.load(device="cpu", dtype=torch.float32)
        checked = desa2va.load(device=self.device, dtype=dtype)
        if replayed:
            checked[0].use_cuda_graphs()
        figures = self.report.setdefault("answers", {}).setdefault(name, {})
        for entry in QUICK if self.quick else COMPARED:
            scenario = getattr(scenarios, entry)
            wanted = scenario(*reference)
            for _ in range(3 * replayed):  # until what follows is replayed
                scenario(*checked)
            with self._measured(figures, entry):
                found = scenario(*checked)
            iou = scenarios.overlap(found, wanted) if len(found.masks) == len(wanted.masks) else 0.0
            figures[entry] |= {"iou": round(iou, 5), "same_texts": found.texts == wanted.texts}
        off = [entry for entry, figure in figures.items() if figure["iou"] < least]
        if off:
            raise AssertionError(f"IoU with the CPU below {least}: {', '.join(off)}; see answers")
        return {}

    def _speed(self, name: str, dtype: torch.dtype, mode: str = "eager") -> dict[str, Any]:
        size, frames = ("tiny", 2) if self.quick else ("large", gpu_speed.TIMED_FRAMES)
        model, speed = random_model(size, str(self.device)), self.report.setdefault("speed", {})

        def done(figures: dict[str, Any]) -> None:
            speed[name] = figures
            self.write()

        with self._measured(speed, name):
            gpu_fps(model, mode, done, frames, dtype)
        return {}

    def _measured(self, figures: dict[str, Any], name: str) -> _Measured:
        return _Measured(self.device, figures, name)


class _Measured:
    """Adds `seconds` and, on a GPU, `peak_mib` to the figures of a name."""

    def __init__(self, device: torch.device, figures: dict[str, Any], name: str) -> None:
        self.device, self.figures, self.name = device, figures, name

    def __enter__(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
        self.start = time.perf_counter()

    def __exit__(self, *error: Any) -> None:
        own = self.figures.setdefault(self.name, {})
        own["seconds"] = round(time.perf_counter() - self.start, 2)
        if self.device.type == "cuda":
            own["peak_mib"] = round(torch.cuda.max_memory_allocated(self.device) / 2**20, 1)


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; 1 where a part failed."""
    options = parse_options(arguments)
    with redirect_stdout(sys.stderr):  # a trainer prints its log
        report = GpuCheck(options).run()
    print(json.dumps(report, indent=1))
    return int(bool(report["failed"]))


if __name__ == "__main__":
    sys.exit(main())

__all__ = ["PARTS", "GpuCheck", "main", "parse_options"]
