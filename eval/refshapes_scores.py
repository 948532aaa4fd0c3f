"""Scores of RefShapes answers: pictures, expressions that fit nothing, questions, videos.

`(sample, result)` pairs enter, the parts of the report leave. Beside every mask score stands its floor: a predictor
that ignores the words and takes all foreground, on the same samples. A model at the floor has not read the sentence.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from desa2va.processing.files import decode_mask, encode_mask, mask_iou
from desa2va.processing.results import ObjectResult, SegmentationResult
from desa2va.training.data.sample import Sample

from .metrics.generalized import GeneralizedReferring
from .metrics.pieces import Pieces
from .metrics.ranking import compare_auroc
from .metrics.referring import ReferringSegmentation
from .metrics.uncertainty import mean_with_error
from .metrics.video import VideoSegmentation, jaccard

THRESHOLDS = (0.5, 0.7, 0.9)
WRONG_BELOW = 0.5  # IoU
ALL = "all"
Pair = tuple[Sample, SegmentationResult]


def unite(masks: Iterable[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """All masks in one, bool of the given shape; empty without masks."""
    united = np.zeros(shape, bool)
    for mask in masks:
        united |= mask
    return united


def foreground(sample: Sample) -> np.ndarray:
    """The floor's prediction, bool `(T, H, W)`: every pixel that any object shows."""
    return sample.scene["instance_map"] > 0


class PictureScores:
    """Collects answers to expressions about pictures.

    Args:
        kinds: the kinds of expressions, in the order of the report; those that do not occur are left out.
    """

    def __init__(self, kinds: Iterable[str]) -> None:
        self._kinds = tuple(kinds)
        self._models: dict[str, ReferringSegmentation] = defaultdict(lambda: ReferringSegmentation(THRESHOLDS))
        self._floors: dict[str, ReferringSegmentation] = defaultdict(ReferringSegmentation)
        self._objects: dict[str, ReferringSegmentation] = defaultdict(ReferringSegmentation)
        self._right_counts: dict[str, list[bool]] = defaultdict(list)
        self._branches = {name: ReferringSegmentation() for name in ("text", "visual")}
        self._has_branches = False
        self._errors = ErrorPrediction()
        self._generalized = GeneralizedReferring()
        self._statuses: Counter[str] = Counter()
        self._pieces = Pieces()

    def add(self, sample: Sample, result: SegmentationResult) -> None:
        """Add one answer. Several masks of an answer are united; none is an empty mask."""
        conversation = sample.conversations[0]
        masks = conversation.masks[:, 0]
        shape = sample.frames.shape[1:3]
        predicted = [entry.mask() for entry in result.objects]
        truth, prediction = unite(masks, shape), unite(predicted, shape)
        for name in (ALL, conversation.kind):
            self._models[name].add(prediction, truth)
            self._floors[name].add(foreground(sample)[0], truth)
        if conversation.kind == "multiple":
            self._add_objects(conversation.kind, masks, predicted)
        self._add_branches(result.objects, truth)
        self._errors.add(result.objects, prediction, truth)
        self._pieces.add(predicted, masks)
        if len(masks):
            self._generalized.add(prediction, truth)
            self._statuses[result.status] += 1

    def _add_objects(self, kind: str, truths: Sequence[np.ndarray], predicted: list[np.ndarray]) -> None:
        """Objects of one answer, matched by order; what one side lacks is empty there."""
        self._right_counts[kind].append(len(truths) == len(predicted))
        empty = np.zeros(truths[0].shape, bool)
        for place in range(max(len(truths), len(predicted))):
            one, other = (masks[place] if place < len(masks) else empty for masks in (predicted, truths))
            self._objects[kind].add(one, other)

    def _add_branches(self, objects: list[ObjectResult], truth: np.ndarray) -> None:
        for name, score in self._branches.items():
            codes = [getattr(entry, f"{name}_codes") for entry in objects]
            self._has_branches |= any(codes)
            score.add(unite((decode_mask(code[0]) for code in codes if code), truth.shape), truth)

    @property
    def target_accuracy(self) -> dict[str, Any]:
        """Share of the expressions with a target that got a mask: `t_acc`, `t_acc_se`, `n_target`."""
        if not len(self._generalized):
            return {"n_target": 0, "t_acc": None, "t_acc_se": None}
        figures = self._generalized.compute()
        return {"n_target": figures["n"], "t_acc": figures["t_acc"], "t_acc_se": figures["t_acc_se"]}

    def report(self) -> dict[str, Any]:
        """Overall figures, then `seg_rate`, `statuses`, `floor`, `by_kind`, `by_branch`, `error_prediction`,
        `in_pieces`.
        """
        overall = self._models[ALL].compute()
        floor = self._floors[ALL].compute()
        branches = {}
        if self._has_branches:
            branches = {name: score.compute()["ciou"] for name, score in self._branches.items()}
        num_targets = sum(self._statuses.values())
        silent = self._statuses["no_seg_token"]
        return {
            **overall,
            "seg_rate": (num_targets - silent) / num_targets if num_targets else None,
            "floor": {"ciou": floor["ciou"], "giou": floor["giou"]},
            "by_kind": {kind: self._kind(kind) for kind in self._kinds if kind in self._models},
            "by_branch": {**branches, "fused": overall["ciou"]},
            "error_prediction": self._errors.report(),
            "in_pieces": self._pieces.report(),
            "statuses": dict(self._statuses),
        }

    def _kind(self, kind: str) -> dict[str, Any]:
        figures, floor = self._models[kind].compute(), self._floors[kind].compute()
        kept = {name: figures[name] for name in ("ciou", "ciou_se", "giou", "giou_se", "precision@0.5", "n")}
        kept |= {"floor_ciou": floor["ciou"], "floor_giou": floor["giou"]}
        if kind in self._objects:
            objects = self._objects[kind].compute()
            kept |= {"object_ciou": objects["ciou"], "object_giou": objects["giou"]}
            kept["count_accuracy"] = mean_with_error(self._right_counts[kind])[0]
        return kept


class ErrorPrediction:
    """Does what a result says of itself tell that its mask is wrong?

    Counted are the answers that mark something; wrong is an IoU below `WRONG_BELOW` with the truth, also where nothing
    was to be marked. Two scores are compared: the disagreement of the branches, and 1 - predicted IoU of the mask,
    which models without branches have too.
    """

    def __init__(self) -> None:
        self._wrong: list[bool] = []
        self._scores: dict[str, list[float]] = {"disagreement": [], "predicted_iou": []}

    def add(self, objects: Sequence[ObjectResult], prediction: np.ndarray, truth: np.ndarray) -> None:
        """Add one answer about a picture: its objects, their masks united, and the truth, bool `(H, W)`."""
        if not objects or not all(entry.key_frames for entry in objects):
            return
        text, visual = (
            encode_mask(unite((decode_mask(getattr(entry, name)[0]) for entry in objects), truth.shape))
            for name in ("text_codes", "visual_codes")
        )
        self._wrong.append(mask_iou(encode_mask(prediction), encode_mask(truth)) < WRONG_BELOW)
        self._scores["disagreement"].append(1 - mask_iou(text, visual))
        self._scores["predicted_iou"].append(1 - min(entry.iou_scores[0] for entry in objects))

    def report(self) -> dict[str, dict[str, float]]:
        """AUROC of both scores and their difference with intervals; nothing where no answer is wrong, or all are."""
        counts = {"n": len(self._wrong), "wrong": sum(self._wrong)}
        rows = compare_auroc(self._scores, self._wrong) if self._wrong else {}
        return {name: {**row, **counts} for name, row in rows.items()}


def score_no_target(pairs: Iterable[Pair]) -> dict[str, Any]:
    """Answers to expressions that fit nothing: right is an answer without `[SEG]`, or with an empty mask."""
    scores, silent = GeneralizedReferring(), []
    for sample, result in pairs:
        shape = sample.frames.shape[1:3]
        scores.add(unite((entry.mask() for entry in result.objects), shape), np.zeros(shape, bool))
        silent.append(result.status == "no_seg_token")
    figures = scores.compute()
    return {
        "n": figures["n"],
        "n_acc": figures["n_acc"],
        "n_acc_se": figures["n_acc_se"],
        "without_seg": mean_with_error(silent)[0],
    }


def score_questions(pairs: Iterable[Pair]) -> dict[str, Any]:
    """Answers in words: right is the very word. `majority` is the accuracy of always giving the commonest answer."""
    right, truths = [], Counter()
    for sample, result in pairs:
        truth = sample.conversations[0].turns[0][1]
        truths[truth] += 1
        right.append(result.text.strip(" .!").lower() == truth.lower())
    accuracy, error = mean_with_error(right)
    majority = truths.most_common(1)[0][1] / len(right)
    return {"accuracy": accuracy, "accuracy_se": error, "n": len(right), "majority": majority}


class VideoScores:
    """Collects answers to expressions about videos: with all key frames, and with one prompt on the first frame.

    Args:
        kinds: as in `PictureScores`.
    """

    def __init__(self, kinds: Iterable[str]) -> None:
        self._kinds = (ALL, *kinds)
        self._usual: dict[str, VideoSegmentation] = defaultdict(VideoSegmentation)
        self._one_prompt: dict[str, VideoSegmentation] = defaultdict(VideoSegmentation)
        self._later: dict[str, list[float]] = defaultdict(list)
        self._floors: dict[str, list[float]] = defaultdict(list)

    def add(self, sample: Sample, result: SegmentationResult) -> None:
        """Add the answer of the usual protocol."""
        prediction, truth = _clips(sample, result)
        for name in (ALL, sample.conversations[0].kind):
            self._usual[name].add(prediction, truth)
            self._floors[name].append(float(jaccard(foreground(sample), truth).mean()))

    def add_one_prompt(self, sample: Sample, result: SegmentationResult) -> None:
        """Add the answer of a model that was shown the first frame alone."""
        prediction, truth = _clips(sample, result)
        later = truth[1:].any(axis=(1, 2))
        for name in (ALL, sample.conversations[0].kind):
            self._one_prompt[name].add(prediction, truth)
            if later.any():
                self._later[name].append(float(jaccard(prediction[1:], truth[1:])[later].mean()))

    def report(self) -> dict[str, Any]:
        """Figures of `all`, then by kind."""
        kinds = {}
        for name in self._kinds:
            if name not in self._usual:
                continue
            one_prompt = self._one_prompt[name].compute()
            later, later_error = mean_with_error(self._later[name]) if self._later[name] else (None, None)
            kinds[name] = {
                **self._usual[name].compute(),
                "one_prompt_iou": one_prompt["mean_iou"],
                "one_prompt_iou_se": one_prompt["mean_iou_se"],
                "one_prompt_later_iou": later,
                "one_prompt_later_iou_se": later_error,
                "floor_j": mean_with_error(self._floors[name])[0],
            }
        return kinds


def _clips(sample: Sample, result: SegmentationResult) -> tuple[np.ndarray, np.ndarray]:
    """Predicted and true masks, all objects united: bool `(T, H, W)`."""
    shape = sample.frames.shape[:3]
    prediction = unite((entry.masks for entry in result.objects), shape)
    return prediction, unite(sample.conversations[0].masks, shape)


__all__ = [
    "ALL",
    "ErrorPrediction",
    "PictureScores",
    "VideoScores",
    "foreground",
    "score_no_target",
    "score_questions",
    "unite",
]
