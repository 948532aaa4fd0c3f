"""Scores of RefShapes' further tasks: sets, examples, grounded captions, regions, descriptions, dialogues.

`(sample, result)` pairs of one kind enter, figures leave. The model chooses itself whether it says a `[SEG]` (`task=
"auto"`), so that a `[SEG]` in a description is seen. Measures: SAM 3's cgF1 for sets, GLaMM's for grounded captions,
exact words, and one IoU threshold for what a later turn marks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from desa2va.processing.results import ObjectResult, SegmentationResult, count_remarks
from desa2va.training.data.sample import SEG, Sample

from .metrics.concepts import ConceptSegmentation
from .metrics.grounding import GroundedConversation
from .metrics.pairs import pairwise_iou
from .metrics.pieces import Pieces
from .metrics.uncertainty import mean_with_error

MARKED_FROM = 0.5  # IoU from which the mask of a later turn is right
Pair = tuple[Sample, SegmentationResult]


def score_sets(pairs: Iterable[Pair]) -> dict[str, Any]:
    """Sets, by words or by example: cgF1, positive F1, right numbers of masks, texts that say no other number."""
    sets, pieces = ConceptSegmentation(), Pieces()
    right: list[bool] = []
    agree: list[bool] = []
    for sample, result in pairs:
        predicted, true = _masks(result), _last_masks(sample)
        sets.add(predicted, true)
        pieces.add(predicted, true)
        right.append(len(predicted) == len(true))
        if result.objects:
            agree.append(not count_remarks(result.text, result.objects))
    figures = sets.compute()
    kept = ("n", "n_positive", "cgf1", "positive_micro_f1", "positive_micro_f1@0.5", "presence_mcc")
    accuracy, error = mean_with_error(right)
    return {
        **{name: figures[name] for name in kept},
        "count_accuracy": accuracy,
        "count_accuracy_se": error,
        "said_agrees": mean_with_error(agree)[0] if agree else None,
        "in_pieces": pieces.report(),
    }


def score_grounded(pairs: Iterable[Pair]) -> dict[str, Any]:
    """Grounded captions: mIoU, AP50, recall with phrases that are the same word by word, captions that are exact."""
    grounded = GroundedConversation(lambda one, other: float(_plain(one) == _plain(other)), captions=False)
    pieces, exact = Pieces(), []
    for number, (sample, result) in enumerate(pairs):
        truth, masks = sample.conversations[0].turns[-1][1], _last_masks(sample)
        phrases = [part.split("</p>")[0] for part in truth.split("<p>")[1:]]
        phrased: list[ObjectResult] = sorted(result.objects, key=lambda entry: entry.span is None)
        predicted = [entry.masks for entry in phrased]
        said = [entry.phrase for entry in phrased if entry.span is not None]
        grounded.add(number, (result.text, said, predicted), (truth, phrases, masks))
        pieces.add(predicted, masks)
        exact.append(_plain(result.raw_text) == _plain(truth))
    figures = grounded.compute()
    kept = ("n", "miou", "miou_se", "ap50", "recall", "n_without_phrase")
    return {
        **{name: figures[name] for name in kept},
        "exact": mean_with_error(exact)[0],
        "in_pieces": pieces.report(),
    }


def score_words(pairs: Iterable[Pair]) -> dict[str, Any]:
    """Answers in words: how many are the very words, and how many hold no `[SEG]`."""
    exact, silent = [], []
    for sample, result in pairs:
        exact.append(_plain(result.text) == _plain(sample.conversations[0].turns[-1][1]))
        silent.append(not result.objects)
    accuracy, error = mean_with_error(exact)
    return {"n": len(exact), "exact": accuracy, "exact_se": error, "without_seg": mean_with_error(silent)[0]}


def score_turns(pairs: Iterable[Pair]) -> dict[str, Any]:
    """Last turns of dialogues whose earlier turns are given: the very word and no mask, or the one mask alone."""
    right: dict[str, list[bool]] = {"all": [], "color": [], "mask": []}
    for sample, result in pairs:
        predicted, true = _masks(result), _last_masks(sample)
        if len(true):
            sort, good = "mask", len(predicted) == 1 and pairwise_iou(predicted, true)[0, 0] >= MARKED_FROM
        else:
            answer = sample.conversations[0].turns[-1][1]
            sort, good = "color", not predicted and _plain(result.text) == _plain(answer)
        for name in ("all", sort):
            right[name].append(bool(good))
    return {"n": len(right["all"]), **_accuracies(right)}


def score_mixed_turns(pairs: Iterable[Pair]) -> dict[str, Any]:
    """Last turns of dialogues in which every turn asks something else, whose earlier turns are given.

    Right is the very word and no mask, or every mask and no other, from left to right; `repeated`: how many of the
    answers in words that are wrong say again what was answered before.
    """
    right: dict[str, list[bool]] = {"all": [], "word": [], "mask": []}
    repeated = []
    for sample, result in pairs:
        turns = sample.conversations[0].turns
        predicted, true = _masks(result), _last_masks(sample)
        same = len(predicted) == len(true)
        if len(true):
            sort, good = "mask", same and pairwise_iou(predicted, true).diagonal().min() >= MARKED_FROM
        else:
            sort, good = "word", same and _plain(result.text) == _plain(turns[-1][1])
            if not good:
                repeated.append(_plain(result.text) in {_plain(answer) for _, answer in turns[:-1]})
        for name in ("all", sort):
            right[name].append(bool(good))
    return {
        "n": len(right["all"]),
        **_accuracies(right),
        "repeated": mean_with_error(repeated)[0] if repeated else 0.0,
    }


def _accuracies(right: dict[str, list[bool]]) -> dict[str, float | None]:
    """`accuracy` of all and of every sort, with standard errors; nothing known of a sort that did not occur."""
    figures: dict[str, float | None] = {}
    for name, rows in right.items():
        suffix = "" if name == "all" else f"_{name}"
        figures[f"accuracy{suffix}"], figures[f"accuracy{suffix}_se"] = mean_with_error(rows) if rows else (None, None)
    return figures


PICTURE_TASKS: dict[str, Callable[[Iterable[Pair]], dict[str, Any]]] = {
    "set": score_sets,
    "example": score_sets,
    "caption": score_grounded,
    "caption_plain": score_words,
    "region": score_words,
    "turns": score_turns,
    "mixed_turns": score_mixed_turns,
}
VIDEO_TASKS: dict[str, Callable[[Iterable[Pair]], dict[str, Any]]] = {
    "set": score_sets,
    "video_caption": score_grounded,
    "video_caption_plain": score_words,
    "video_region": score_words,
}


def _plain(text: str) -> str:
    """Words as they are compared: without capitals, the full stop and doubled blanks."""
    return " ".join(text.lower().replace("<p>", " <p> ").replace("</p>", " </p> ").split()).strip(" .!")


def _masks(result: SegmentationResult) -> list[np.ndarray]:
    """The masks with a pixel, bool `(T, H, W)`."""
    return [entry.masks for entry in result.objects if entry.status == "ok"]


def _last_masks(sample: Sample) -> list[np.ndarray]:
    """The true masks of the last turn, bool `(T, H, W)`."""
    conversation = sample.conversations[0]
    return list(conversation.masks[len(conversation.masks) - conversation.turns[-1][1].count(SEG) :])


__all__ = [
    "MARKED_FROM",
    "PICTURE_TASKS",
    "VIDEO_TASKS",
    "score_grounded",
    "score_mixed_turns",
    "score_sets",
    "score_turns",
    "score_words",
]
