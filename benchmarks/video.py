"""Video: how often frames are encoded, what tracking costs, and whether memory and time stay flat.

Enters: a size. Leaves: one JSON file, written anew whenever a part is done; `complete` says whether all were. From the
root of a checkout:

    python -m benchmarks.video --size tiny --json video_tiny.json

docs/performance.md explains the figures. Weights are random: every figure is a cost or a count, none is a quality.
"""

from __future__ import annotations

import argparse
import sys
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel

from .encoder_calls import count_encodings
from .flat_time import banked_time, walked_time
from .gpu_speed import gpu_fps
from .memory_growth import FRAME_COUNTS, measure_growth
from .parts import PartRunner, SkippedPartError
from .path_check import car_shadow
from .random_models import SIZES, random_model
from .tracking_cost import encoder_seconds, peer_ratio, picture_ratio, stage_shares, together_ratio

PARTS = ("calls", "peer", "together", "flat", "memory", "stages", "path", "gpu_eager", "gpu_compiled")

# Keys of a figure, how it is compared, and the number that the project promises.
TARGETS = (
    (("ratio_of_a_picture", "1"), "at least", 1.0),
    (("ratio_of_a_picture", "3"), "at least", 2.8),
    (("ratio_of_a_picture", "10"), "at least", 8.0),
    (("ratio_to_peer_schedule", "1"), "at least", 1.8),
    (("ratio_to_peer_schedule", "3"), "at least", 4.5),
    (("ratio_to_peer_schedule", "10"), "at least", 9.0),
    (("ratio_together_to_single",), "at most", 0.5),
    (("seconds_per_frame_1000_vs_50", "ratio"), "at most", 1.1),
    (("rss_ratio",), "at most", 1.1),
)


def parse_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.video", description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="tiny", help="tiny: 128 px; large: SAM-2.1 large, 1024 px")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="where the figures go")
    parser.add_argument("--parts", default=",".join(PARTS), help="some of %(default)s")
    parser.add_argument("--threads", type=int, default=1, help="threads of the process (1)")
    parser.add_argument("--davis", type=Path, metavar="FOLDER", help="DAVIS' car-shadow, for the part `path`")
    options = parser.parse_args(arguments)
    options.parts = [part for part in options.parts.split(",") if part]
    unknown = [part for part in options.parts if part not in PARTS]
    if unknown:
        parser.error(f"unknown parts {', '.join(unknown)}; choose from {', '.join(PARTS)}")
    return options


class Benchmark(PartRunner):
    """Runs the parts asked for, one after the other, in this process.

    Args:
        options: of `parse_options`.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__(options.parts, options.threads, path=options.json)
        self.options, self.large = options, options.size == "large"
        self.report = {"size": options.size, **self.report}

    @cached_property
    def model(self) -> DeSa2VAModel:
        """The model of all parts that run on the CPU."""
        return random_model(self.options.size)

    @cached_property
    def encoding(self) -> float | None:
        """CPU seconds of one encoding where runs are composed, see `tracking_cost`."""
        return encoder_seconds(self.model) if self.large else None

    def write(self) -> None:
        """What there is, beside the targets."""
        self.report["targets"] = _compare(self.report)
        super().write()

    def calls(self) -> dict[str, Any]:
        """Encodings end to end."""
        frames, key_frames = (4, 2) if self.large else (16, 5)
        return count_encodings(self.model, frames, key_frames, reduced=self.large)

    def peer(self) -> dict[str, Any]:
        """Against the peer's schedule."""
        found = peer_ratio(self.model, 1 if self.large else 15, self.encoding)
        return found if self.large else found | picture_ratio(self.model, 15)

    def together(self) -> dict[str, Any]:
        """Ten objects at once against ten runs."""
        return together_ratio(self.model, 1 if self.large else 5, self.encoding)

    def flat(self) -> dict[str, Any]:
        """Seconds per frame at frame 50 and 1,000."""
        measure = banked_time if self.large else walked_time
        return {"seconds_per_frame_1000_vs_50": measure(self.model)}

    def memory(self) -> dict[str, Any]:
        """Resident memory at 100 and 1,000 frames."""
        if not Path("/proc/self/status").exists():
            raise SkippedPartError("resident memory is read from /proc, which this system has not")
        return measure_growth(self.options.size, FRAME_COUNTS, "cpu", self.large, self.options.threads)

    def stages(self) -> dict[str, Any]:
        """Where the time of a followed frame goes."""
        counts, frames = ((1,), self.model.segmenter.sam.num_maskmem + 1) if self.large else ((1, 3, 10), 40)
        shares = {str(count): stage_shares(self.model, count, frames, self.encoding) for count in counts}
        return {"milliseconds_by_stage": shares}

    def path(self) -> dict[str, Any]:
        """A real clip."""
        if self.options.davis is None:
            raise SkippedPartError("no --davis FOLDER given")
        if self.large:
            raise SkippedPartError(
                "24 real frames at 1024 px take a CPU a quarter of an hour; size tiny checks the same path"
            )
        return car_shadow(self.model, self.options.davis)

    def gpu_eager(self) -> dict[str, Any]:
        """Frames per second on a GPU."""
        return self._gpu("gpu_eager", "eager")

    def gpu_compiled(self) -> dict[str, Any]:
        """Frames per second on a GPU, networks compiled."""
        return self._gpu("gpu_compiled", "compiled")

    def _gpu(self, part: str, mode: str) -> dict[str, Any]:
        if not torch.cuda.is_available():
            raise SkippedPartError("no GPU on this machine")

        def done(figures: dict[str, Any]) -> None:
            self.report[part] = figures
            self.write()

        return {part: gpu_fps(random_model(self.options.size, "cuda"), mode, done)}


def _compare(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Those of `TARGETS` that were measured, and whether they are met."""
    rows = []
    for keys, how, number in TARGETS:
        value: Any = report
        for key in keys:
            value = value.get(key, {})
        if value != {}:
            met = value >= number if how == "at least" else value <= number
            rows.append({"figure": ".".join(keys), "value": value, "target": f"{how} {number}", "met": met})
    return rows


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; 1 where a part failed."""
    options = parse_options(arguments)
    torch.set_num_threads(options.threads)
    report = Benchmark(options).run()
    for part, reason in (report["skipped"] | report["failed"]).items():
        print(f"{part}: {reason}", file=sys.stderr)
    return int(bool(report["failed"]))


if __name__ == "__main__":
    sys.exit(main())

__all__ = ["PARTS", "Benchmark", "main", "parse_options"]
