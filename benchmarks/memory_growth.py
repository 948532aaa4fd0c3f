"""Resident memory of a stream, by its number of frames.

Enters: a size and numbers of frames. Leaves: peak and final resident memory of one fresh process each. The process
builds a model with random weights, streams a generated video of that length through `model.stream` (key frame in the
middle, so that the walk goes forwards and backwards), drops every result, closes the stream and reports.

`large` on a CPU would take hours. There the encoder answers with made-up features and memory attention with the frame
as it is (`reduced`), and there is one sentence, not three. All that lives longer than a frame is made as always.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch

from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel
from desa2va.processing.inputs import frame_range
from desa2va.processing.processing_desa2va import DeSa2VAProcessor

from .random_models import SIZES, matching_processor, random_model, reduced_networks

FRAME_COUNTS = (100, 1000)
WARM_FRAMES = 24
SENTENCES = ["the red circle", "the blue square", "the green triangle"]


class GeneratedVideo:
    """A `FrameSource` of noise: every frame is made when it is read and kept nowhere."""

    name, height, width, fps = "generated", 240, 320, 25.0

    def __init__(self, num_frames: int) -> None:
        self.num_frames = num_frames
        self.timestamps = [index / self.fps for index in range(num_frames)]

    def __len__(self) -> int:
        return self.num_frames

    def read(self, indices: Sequence[int]) -> list[np.ndarray]:
        """The frames asked for, uint8 (H, W, 3)."""
        return [self._frame(index) for index in indices]

    def iterate(self, start: int = 0, stop: int | None = None, step: int = 1) -> Iterator[np.ndarray]:
        """Frames `range(start, stop, step)`; `stop=None` runs to the end of that direction."""
        yield from map(self._frame, frame_range(self.num_frames, start, stop, step))

    def _frame(self, index: int) -> np.ndarray:
        return np.random.default_rng(index).integers(0, 256, (self.height, self.width, 3), dtype=np.uint8)


def measure_growth(size: str, frame_counts: tuple[int, ...], device: str, reduced: bool, threads: int) -> dict:
    """Runs `python -m benchmarks.memory_growth` once per number of frames.

    Returns:
        `peak_rss_mb`: number of frames -> MB; `rss_ratio`: that of the longest over that of the shortest stream;
        `memory`: all figures of each process.

    Raises:
        RuntimeError: a process failed; the message ends with what it said.
    """
    figures = {}
    for count in frame_counts:
        command = [sys.executable, "-m", "benchmarks.memory_growth", "--size", size, "--frames", str(count)]
        command += ["--device", device, "--threads", str(threads), *(["--reduced"] if reduced else [])]
        root = Path(__file__).resolve().parent.parent
        done = subprocess.run(command, capture_output=True, text=True, cwd=root)
        if done.returncode:
            raise RuntimeError(f"the stream of {count} frames failed: {done.stderr[-2000:]}")
        figures[str(count)] = json.loads(done.stdout.splitlines()[-1])
    peaks = {count: column["peak_rss_mb"] for count, column in figures.items()}
    ratio = peaks[str(max(frame_counts))] / peaks[str(min(frame_counts))]
    return {"peak_rss_mb": peaks, "rss_ratio": round(ratio, 4), "memory": {"reduced": reduced} | figures}


def stream_and_measure(size: str, num_frames: int, device: str, reduced: bool) -> dict[str, float | int]:
    """Resident MB of this process: before, at its peak, with the stream still open, and after it is closed.

    A stream of 24 frames runs before: libraries loaded and buffers made on first use belong to no stream.
    """
    model = random_model(size, device)
    processor = matching_processor(model)
    with ExitStack() as stack:
        if reduced:
            stack.enter_context(reduced_networks(model.segmenter))
        sentences = SENTENCES[:1] if reduced else SENTENCES
        _stream(model, processor, WARM_FRAMES, sentences)
        before = _settled_rss()
        seen, at_end = _stream(model, processor, num_frames, sentences)
    figures = {"frames_yielded": seen, "before_mb": before, "at_end_mb": at_end, "after_close_mb": _settled_rss()}
    if device != "cpu":
        figures["peak_device_mb"] = round(torch.cuda.max_memory_allocated() / 2**20, 1)
    return figures | {"peak_rss_mb": status_mb("VmHWM")}


def _stream(
    model: DeSa2VAModel, processor: DeSa2VAProcessor, num_frames: int, sentences: list[str]
) -> tuple[int, float]:
    """Frames yielded, and resident MB before closing."""
    video = GeneratedVideo(num_frames)
    with model.stream(video, sentences, processor, key_frames=[num_frames // 2], max_new_tokens=1) as stream:
        seen = sum(1 for _ in stream)
        return seen, status_mb("VmRSS")


def _settled_rss() -> float:
    gc.collect()
    return status_mb("VmRSS")


def status_mb(field: str) -> float:
    """A field of this process' status in MB; the kernel's own high-water mark, which no child inherits."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return round(int(line.split()[1]) / 1024, 1)
    raise OSError(f"/proc/self/status has no field {field}")


def main() -> None:
    """One process of `measure_growth`; prints one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--reduced", action="store_true", help="made-up features, no attention")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(json.dumps(stream_and_measure(options.size, options.frames, options.device, options.reduced)))


if __name__ == "__main__":
    main()

__all__ = ["FRAME_COUNTS", "GeneratedVideo", "measure_growth", "stream_and_measure"]
