"""Ref-DAVIS17 in the two protocols that papers report without saying which.

Predictions for all objects of a video as one annotator describes them enter, J, F and J&F leave (paper section 4.1).
Expression 4 * o + k is annotator k's for the o-th object: k = 0, 1 are the first person's first-frame and whole-video
sentence, 2 and 3 the second's.

* "four_annotators" (ReferFormer and its followers): the objects' masks of one annotator compete for every pixel, the
  resulting index maps are scored with DAVIS' unsupervised protocol, and the four J&F are averaged.
* "expression" (Sa2VA, VISA): every expression alone against its object on all frames, averaged over expressions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .boundary import boundary_accuracy
from .collected import Collected, one_of, require_unique
from .davis import unsupervised_scores
from .uncertainty import exact_mean
from .video import jaccard

PROTOCOLS = ("four_annotators", "expression")
ANNOTATORS = 4
BACKGROUND = 0.1


def index_map(scores: Sequence[np.ndarray]) -> np.ndarray:
    """Who has every pixel: the object with the highest score of at least 0.5, the first of equals; else background.

    Args:
        scores: per object bool or float `(T, H, W)`, probabilities in [0, 1].

    Returns:
        uint8 `(T, H, W)`: 0 background, then the objects in order.

    Raises:
        ValueError: no object, or shapes that differ.
    """
    shapes = {np.shape(score) for score in scores}
    if len(shapes) != 1:
        raise ValueError(f"the objects of one video need masks of one shape, got {sorted(shapes)}")
    best = np.full(shapes.pop(), BACKGROUND, np.float32)
    owner = np.zeros(best.shape, np.uint8)
    for number, score in enumerate(scores, start=1):
        score = np.asarray(score, np.float32)
        better = (score >= 0.5) & (score > best)
        owner[better], best[better] = number, score[better]
    return owner


class RefDavis17(Collected):
    """Collects annotators' views of videos and computes J, F and J&F.

    Args:
        protocol: "four_annotators" or "expression".

    Raises:
        ValueError: unknown protocol.
    """

    def __init__(self, protocol: str = "four_annotators") -> None:
        super().__init__()
        self.protocol = one_of("protocol", protocol, PROTOCOLS)

    def add(self, video: str, annotator: int, predictions: Sequence[np.ndarray], truth: np.ndarray) -> None:
        """Add one video as one annotator describes it.

        Args:
            video: its name. annotator: 0 to 3, see above.
            predictions: per object, in the order of the indices, masks or probabilities `(T, H, W)`.
            truth: int `(T, H, W)`: the index of the object at every pixel, 255 void (which only the first protocol
                takes out).

        Raises:
            ValueError: no such annotator, other shapes, or an object of the first true frame without a prediction.
        """
        if annotator not in range(ANNOTATORS):
            raise ValueError(f"an annotator is 0 to {ANNOTATORS - 1}, got {annotator!r}")
        owner = index_map(predictions)
        if self.protocol == "four_annotators":
            pairs = list(zip(*unsupervised_scores(owner, truth), strict=True))
        else:
            alone = [(np.asarray(score) >= 0.5, truth == index) for index, score in enumerate(predictions, start=1)]
            pairs = [(jaccard(*pair), boundary_accuracy(*pair)) for pair in alone]
        for index, (regions, edges) in enumerate(pairs, start=1):
            self.rows.append((video, int(annotator), index, float(regions.mean()), float(edges.mean())))

    def compute(self) -> dict[str, Any]:
        """The measures.

        Returns:
            `n` objects or expressions; `j`, `f`, `jf`; `annotators`: J&F of each of the four, `None` for one without
            a video. In the first protocol `j`, `f` and `jf` are means of the annotators' means.

        Raises:
            ValueError: nothing was added, one thing twice, or an annotator is missing where four are averaged.
        """
        videos, speakers, objects, *scores = self.columns()
        require_unique("video, annotator and object", zip(videos, speakers, objects, strict=True))
        annotators, regions, boundaries = (np.asarray(column) for column in (speakers, *scores))
        each = [
            tuple(exact_mean(values[annotators == k]) for values in (regions, boundaries)) if k in annotators else None
            for k in range(ANNOTATORS)
        ]
        if self.protocol == "four_annotators":
            if None in each:
                raise ValueError(f"annotator {each.index(None)} has no video; this protocol averages four")
            j, f = (exact_mean(values) for values in zip(*each, strict=True))
        else:
            j, f = exact_mean(regions), exact_mean(boundaries)
        by_annotator = [None if pair is None else sum(pair) / 2 for pair in each]
        return {"n": len(self), "j": j, "f": f, "jf": (j + f) / 2, "annotators": by_annotator}


__all__ = ["ANNOTATORS", "BACKGROUND", "PROTOCOLS", "RefDavis17", "index_map"]
