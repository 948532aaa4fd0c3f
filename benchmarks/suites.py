"""What `benchmarks.run` measures, by name: each suite gives rows, and uses the scripts of this folder where they are.

A row is plain: `value` and its `unit`, of which less is better unless the unit is `times` (as fast as another side);
of a stage also its `floor` in the same unit. Milliseconds are processor time of one thread, the least of several
tries.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel
from desa2va.training.data.collator import Collator
from desa2va.training.data.refshapes import RefShapes

from . import many_sentences, sam2_package, transformers_session
from .data_pipeline import data_wait, sized_objective, sized_processor, stepper
from .machine import Rates, measure_rates, processor_seconds
from .memory_growth import measure_growth
from .parts import SkippedPartError
from .random_models import random_model
from .scenarios import clip, pictures, request
from .stages import file_rows, network_rows, watched
from .tracking_cost import peer_ratio

ROOT = Path(__file__).resolve().parents[1]
Rows = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Settings:
    """How much is measured.

    Attributes:
        size: of `random_model`, for `stages`, `peer` and `memory`. repeats: tries, of which the least counts.
        frames: of a clip. tokens: of an answer. streamed: frames of the stream whose memory is measured.
        side: pixels of the frames of `session`. sentences: about one picture, in `sentences`.
    """

    size: str = "tiny"
    repeats: int = 5
    frames: int = 8
    tokens: int = 16
    streamed: int = 100
    side: int = 512
    sentences: int = 10

    @cached_property
    def model(self) -> DeSa2VAModel:
        """With random weights."""
        return random_model(self.size)

    @cached_property
    def rates(self) -> Rates:
        """Of this machine."""
        return measure_rates(repeats=self.repeats)


def row(value: float, unit: str = "ms") -> dict[str, Any]:
    """A row without a floor."""
    return {"value": round(value, 4), "unit": unit}


def answers(settings: Settings) -> Rows:
    """The shipped model from pixels to masks: first token, every further one, a picture, a video."""
    import desa2va

    model, processor = desa2va.load(device="cpu")
    picture, words = pictures()[0].frames[0], request(pictures()[0])
    chat = processor(images=picture, text="describe the picture", task="chat")

    def said(limit: int) -> Callable[[], Any]:
        return lambda: model.generate(**chat, max_new_tokens=limit)

    def segmented(**shown: Any) -> Callable[[], Any]:
        def work() -> Any:
            inputs = processor(text=words, task="segment", **shown)
            return processor.post_process(model.generate(**inputs, max_new_tokens=settings.tokens), inputs)

        return work

    with watched(model) as calls:
        said(settings.tokens)()
    further = max(1, len(calls["decode, a token"]))
    first, whole = (1000 * processor_seconds(said(limit), settings.repeats) for limit in (1, settings.tokens))
    video = list(clip().frames)
    ends = {"a picture, one sentence": segmented(images=picture)}
    ends[f"a video of {len(video)} frames, one sentence"] = segmented(videos=video)
    return {
        "first token": row(first),
        "every further token": row((whole - first) / further),
        **{name: row(1000 * processor_seconds(work, settings.repeats)) for name, work in ends.items()},
    }


def stages(settings: Settings) -> Rows:
    """Every network of an answer and what is done with its masks, beside their floors."""
    found = network_rows(settings.model, settings.rates, settings.frames, settings.tokens, settings.repeats)
    return found | file_rows(settings.rates, settings.repeats)


def training(settings: Settings) -> Rows:
    """A step of phase 2, 4 pictures of 128 pixels with 4 conversations each."""
    processor = sized_processor(128, 128)
    data = RefShapes("train", level="full", size=128, conversations=4, length=4)
    batch, step = processor.collate([data[index] for index in range(4)]), stepper(sized_objective(processor, 128, 128))
    return {"a step": row(1000 * processor_seconds(lambda: step(batch), settings.repeats))}


def data(settings: Settings) -> Rows:
    """What a worker does for a batch of 4, at 448 pixels and SAM-2's 1024, and how long a small step waits for it."""
    processor = sized_processor()
    made = RefShapes("train", level="full", size=448, conversations=4, length=4)
    samples, collators = [made[index] for index in range(4)], (Collator(processor), Collator(processor, False, True))
    works: dict[str, Callable[[], Any]] = {"drawing": lambda: [made[index] for index in range(4)]}
    works |= {name: lambda c=c: c(samples) for name, c in zip(("collating", "collating, raw"), collators, strict=True)}
    rows = {name: row(1000 * processor_seconds(work, settings.repeats)) for name, work in works.items()}
    waited = data_wait(steps=2, batch_size=1, workers=1, picture=64, sam=128)["wait_share"]
    return rows | {"share of a tiny step that waits": row(100 * waited, "%")}


_STARTS = {
    "import torch and transformers": "import torch, transformers",
    "import desa2va and its models": "import desa2va.hub, desa2va.modeling_desa2va.modeling_desa2va",
    "import and load the shipped model": "import desa2va; desa2va.load(device='cpu')",
}


def start(settings: Settings) -> Rows:
    """Fresh processes: each line holds the work of those above it, and starting Python."""
    rows = {}
    for name, program in _STARTS.items():
        told = [
            _in_process(f"{program}\nimport time; print(time.process_time())") for _ in range(min(3, settings.repeats))
        ]
        rows[name] = row(1000 * min(map(float, told)))
    return rows


def _in_process(program: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT, env=environment
    )
    return done.stdout.splitlines()[-1]


def memory(settings: Settings) -> Rows:
    """Resident memory of processes of their own: after the imports, and at the peak of a stream."""
    peak = "from benchmarks.memory_growth import status_mb; print(status_mb('VmHWM'))"
    imported = float(_in_process(f"{_STARTS['import desa2va and its models']}\n{peak}"))
    streamed = measure_growth(settings.size, (settings.streamed,), "cpu", settings.size == "large", 1)
    return {
        "after the imports": row(imported, "MB"),
        f"peak of a stream of {settings.streamed} frames": row(*streamed["peak_rss_mb"].values(), "MB"),
    }


def peer(settings: Settings) -> Rows:
    """The peer's schedule over ours, in turns (`benchmarks.peer_schedule`)."""
    found = peer_ratio(settings.model, settings.repeats)["ratio_to_peer_schedule"]
    return {f"the peer's schedule, {count} objects": row(found[str(count)], "times") for count in found}


def session(settings: Settings) -> Rows:
    """Transformers' own session, and the package sam2 where installed, over ours: one object, the same weights
    (`benchmarks.transformers_session`, `benchmarks.sam2_package`).
    """
    pieces, rows = min(2, settings.repeats), {}
    config = transformers_session.hiera_tiny_config(settings.side)
    found = {"transformers' session": transformers_session.compare(config, 1, pieces)}
    with suppress(SkippedPartError):
        found["the package sam2"] = sam2_package.compare(settings.side, 1, pieces)
    for side, figures in found.items():
        rows[f"{side}, {settings.side} px, 1 object"] = row(statistics.median(figures["ratios"]), "times")
    return rows


def sentences(settings: Settings) -> Rows:
    """Many sentences about one picture, and a drafted answer, over one sentence (`benchmarks.many_sentences`)."""
    found = many_sentences.measure(many_sentences.build(1), settings.sentences, min(2, settings.repeats))
    return {
        f"{settings.sentences} sentences about a picture, over one": row(found["many over one"], "times as long"),
        "a drafted answer, over a usual one": row(found["drafted over one"], "times as long"),
    }


SUITES: dict[str, Callable[[Settings], Rows]] = {
    suite.__name__: suite for suite in (answers, stages, training, data, start, memory, peer, session, sentences)
}

__all__ = ["SUITES", "Settings", "row"]
