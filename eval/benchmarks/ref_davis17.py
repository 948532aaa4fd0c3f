"""Ref-DAVIS17 in both protocols in which it is reported; the two differ by points, so both are told.

Enters: the name `ref_davis17-valid`. Leaves: what it asks and how it scores (paper section 4.1):

* `per_expression`, of Sa2VA and VISA: every expression alone.
* `unsupervised`, of ReferFormer: for each of the four annotators one index map per frame from the answers to its
  expressions, scored by DAVIS' unsupervised protocol; the mean of the four. Masks are kept as codes, not as
  probabilities: a pixel that several objects claim goes to the one with the highest predicted IoU on that frame.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from desa2va.eval.metrics.davis import VOID, DavisSegmentation
from desa2va.processing.files import decode_mask
from desa2va.training.data.readers import read_davis_maps

from .questions import Answer, Benchmark, Question
from .referring_videos import PER_EXPRESSION, VideoScores

ANNOTATORS = 4
Answered = list[tuple[Question, Answer]]


class DavisScores:
    """Both protocols over samples.

    Args:
        maps: from a video and the names of its frames to the true numbers of all objects, int `(T, H, W)`, or `None`
            where only those are known that expressions name.
    """

    def __init__(self, maps: Callable[[str, list[str]], np.ndarray | None]) -> None:
        self._maps = maps
        self._expressions = VideoScores()
        self._videos: dict[str, Answered] = {}

    def add(self, question: Question, answer: Answer) -> dict[str, Any]:
        """Score one sample: its `j`, `f` and `jf`, and its `annotator`, 0 to 3."""
        self._videos.setdefault(str(question.dialogue.ids["video"]), []).append((question, answer))
        annotator = question.dialogue.ids["annotator"]
        return {"annotator": annotator, **self._expressions.add(question, answer)}

    def figures(self) -> dict[str, Any]:
        """`per_expression`, and `unsupervised`: `j`, `f`, `jf` as means over annotators, and those of each.

        Of a limited run `unsupervised` counts the videos that were asked about completely; it is `None` without any.
        """
        metrics = [DavisSegmentation("unsupervised") for _ in range(ANNOTATORS)]
        for video, answered in self._videos.items():
            if len(answered) == len(answered[0][0].record.dialogues):
                truth = self._truth(video, answered)
                for annotator, metric in enumerate(metrics):
                    own = [pair for pair in answered if pair[0].dialogue.ids["annotator"] == annotator]
                    metric.add(video, index_map(own, truth.shape), truth)
        unsupervised = None
        if all(map(len, metrics)):
            each = [metric.compute() for metric in metrics]
            unsupervised = {name: float(np.mean([one[name] for one in each])) for name in ("j", "f", "jf")}
            unsupervised["annotators"] = [{name: one[name] for name in ("n", "j", "f", "jf")} for one in each]
        return {"per_expression": self._expressions.figures(), "unsupervised": unsupervised}

    def _truth(self, video: str, answered: Answered) -> np.ndarray:
        record = answered[0][0].record
        maps = self._maps(video, [Path(path).stem for path in record.paths])
        if maps is not None:
            return maps
        maps = np.zeros((record.num_frames, *record.size), np.int32)
        for question, _ in answered:
            maps[question.truth()] = int(question.dialogue.ids["obj_id"])
        ignored = answered[0][0].ignored()
        return maps if ignored is None else np.where(ignored, VOID, maps)


def index_map(answered: Answered, shape: tuple[int, ...]) -> np.ndarray:
    """Int `(T, H, W)`: at every pixel the number, from 1, of the answer that claims it most surely; 0 without any."""
    numbers, best = np.zeros(shape, np.int32), np.zeros(shape, np.float32)
    for number, (_, answer) in enumerate(answered, start=1):
        for entry in answer.objects:
            for frame, code in enumerate(entry.codes):
                if code is not None:
                    score = np.float32(1 + entry.iou_scores[frame])
                    taken = decode_mask(code) & (score > best[frame])
                    numbers[frame][taken], best[frame][taken] = number, score
    return numbers


def benchmark(name: str) -> Benchmark:
    """The benchmark of a name."""
    dataset, split = name.split("-")
    return Benchmark(
        name=name,
        dataset=dataset,
        split=split,
        protocol=f"per_expression (Sa2VA, VISA): {PER_EXPRESSION}; unsupervised (ReferFormer): index maps of each of "
        "four annotators by DAVIS' unsupervised protocol, mean of the four",
        id_names=("video", "exp_id"),
        scores=lambda root: DavisScores(lambda video, frames: read_davis_maps(root, split, video, frames)),
    )


__all__ = ["ANNOTATORS", "DavisScores", "benchmark", "index_map"]
