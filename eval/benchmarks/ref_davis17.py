"""Ref-DAVIS17 in both protocols in which it is reported; the two differ by points, so both are told.

Enters: the name `ref_davis17-valid`. Leaves: what it asks and how it scores (paper section 4.1):

* `expression`, of Sa2VA and VISA: every expression alone.
* `four_annotators`, of ReferFormer: for each of the four the answers to its expressions compete for every pixel, the
  index maps are scored by DAVIS' unsupervised protocol; the mean of the four. A pixel goes to the object with the
  highest probability of at least .5, the first of equals (`contest`, when the model answers); those shares are kept
  beside the masks, which the first protocol scores. Answers that came as masks alone (baselines, an annotator some of
  whose expressions failed) have no probabilities: there a pixel that several objects claim goes to the one with the
  highest predicted IoU on that frame, the first of equals. `views_by_probability` says how many of the `views`, one
  per video and annotator, were decided by the first rule.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from desa2va.eval.metrics.davis import VOID
from desa2va.eval.metrics.ref_davis import ANNOTATORS, RefDavis17
from desa2va.processing.files import decode_mask
from desa2va.training.data.readers import read_davis_maps

from .contest import ContestAnswerer, object_order
from .questions import Answer, Benchmark, Question, unite
from .referring_videos import PER_EXPRESSION, VideoScores

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
        """`expression`: those of `VideoSegmentation`; `four_annotators`: those of `RefDavis17`.

        Of a limited run the latter counts the videos that were asked about completely; it is `None` without any.
        """
        metric = RefDavis17("four_annotators")
        decided = []
        for video, answered in self._videos.items():
            if len(answered) == len(answered[0][0].record.dialogues):
                truth = self._truth(video, answered)
                for annotator in range(ANNOTATORS):
                    own = [pair for pair in answered if pair[0].dialogue.ids["annotator"] == annotator]
                    own.sort(key=lambda pair: object_order(pair[0]))
                    decided.append(all(answer.owned is not None for _, answer in own))
                    shares = owned if decided[-1] else certainty
                    metric.add(video, annotator, [shares(*pair) for pair in own], truth)
        told = {"views": len(decided), "views_by_probability": sum(decided)}
        return {
            "expression": self._expressions.figures(),
            "four_annotators": {**metric.compute(), **told} if decided else None,
        }

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


def owned(question: Question, answer: Answer) -> np.ndarray:
    """The pixels that were decided to be an answer's: bool `(T, H, W)`."""
    return unite([answer.owned], question.shape)


def certainty(question: Question, answer: Answer) -> np.ndarray:
    """How surely an answer claims every pixel: float16 `(T, H, W)`, 0 outside its masks, from 0.5 to 1 inside."""
    certain = np.zeros(question.shape, np.float16)
    for entry in answer.objects:
        for frame, code in enumerate(entry.codes):
            if code is not None:
                score = np.float16((1 + entry.iou_scores[frame]) / 2)
                certain[frame] = np.maximum(certain[frame], decode_mask(code) * score)
    return certain


def benchmark(name: str) -> Benchmark:
    """The benchmark of a name."""
    return Benchmark(
        name=name,
        protocol=f"expression (Sa2VA, VISA): {PER_EXPRESSION}; four_annotators (ReferFormer): index maps of each of "
        "four annotators by DAVIS' unsupervised protocol, mean of the four",
        asks=ContestAnswerer,
        rivals="annotator",
        id_names=("video", "exp_id"),
        scores=lambda root: DavisScores(lambda video, frames: read_davis_maps(root, "valid", video, frames)),
    )


__all__ = ["DavisScores", "benchmark", "certainty", "owned"]
