"""Scores of the variants of `robustness`: which answers agree, which flip, which follow their prompt.

Enters: answered questions, one per variant of a sample. Leaves: figures by group, with standard errors over samples.
(Engineering; no paper section.)
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from desa2va.eval.metrics.uncertainty import mean_with_error
from desa2va.processing.files import Code, decode_mask, encode_mask

from .questions import Answer, Question
from .robust_answers import CLICKS, RECODINGS, SHAPES

_PIXEL = 1.0
Row = tuple[str, str, str, tuple[Code, ...], tuple[Code, ...], dict[str, float | None]]
Given = dict[str, tuple[str, np.ndarray, np.ndarray]]


class RobustnessScores:
    """Collects the answers to all variants of all samples.

    Attributes:
        rows: per answer sample, variant, status, masks, true masks, and the distances of `round_trip`.
    """

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def add(self, question: Question, answer: Answer) -> dict[str, Any]:
        """Keep one answer: its `variant`, and its `iou` with what its prompt means, or how far a box is off."""
        sample, variant = (str(question.dialogue.ids[name]) for name in ("sample", "variant"))
        if variant in SHAPES:
            told = json.loads(answer.text) if answer.status == "ok" else {}
            self.rows.append((sample, variant, answer.status, (), (), told))
            return {"variant": variant, **told}
        mask, truth = answer.mask(question), question.truth()
        self.rows.append((sample, variant, answer.status, _coded(mask), _coded(truth), {}))
        return {"variant": variant, "iou": overlap_of(mask, truth)}

    def figures(self) -> dict[str, Any]:
        """What the answers say together.

        Returns:
            `wordings`, `sentences`: `agreement`, the mean over samples of the mean pairwise IoU.
            `jpeg60`, ...: `flips`, the share of answers of another status than the plain one; `agreement` of masks.
            `words`, `point`, `box`, `mask`: `moved`, the mean of 1 - IoU of the masks of two prompts; `still`, the
            share that did not move at all; `followed`, the share where the first mask is nearer to the first target
            than the second mask. `wide`, `tall`: see `_round_trips`.
            With standard errors; `n` samples each; `None` without any.
        """
        samples: dict[str, Given] = defaultdict(dict)
        for sample, variant, status, mask, truth, _ in self.rows:
            if variant not in SHAPES:
                samples[sample][variant] = status, _decoded(mask), _decoded(truth)
        figures: dict[str, Any] = {
            group: _agreement(samples.values(), prefix)
            for group, prefix in (("wordings", "wording"), ("sentences", "sentence"))
        }
        figures |= {name: _recoding(samples.values(), name) for name in RECODINGS}
        figures |= {kind: _prompting(samples.values(), kind) for kind in ("words", *CLICKS)}
        return figures | {shape: self._round_trips(shape) for shape in SHAPES}

    def _round_trips(self, shape: str) -> dict[str, Any]:
        """The largest `error_px` and `seen_px`, the share `within` one pixel in both, the median `mask_px`."""
        told = [row[-1] for row in self.rows if row[1] == shape]
        errors = [row["error_px"] for row in told if row]
        seen = [row["seen_px"] for row in told if row and row["seen_px"] is not None]
        masks = [row["mask_px"] for row in told if row and row["mask_px"] is not None]
        held = [bool(row) and row["error_px"] <= _PIXEL and (row["seen_px"] or 0.0) <= _PIXEL for row in told]
        return {
            "error_px": max(errors, default=None),
            "seen_px": max(seen, default=None),
            "mask_px": float(np.median(masks)) if masks else None,
            "within": mean_with_error(held)[0] if held else None,
            "n": len(told),
        }


def overlap_of(one: np.ndarray, other: np.ndarray) -> float:
    """IoU of two masks of one shape, over all frames; two empty ones are alike."""
    union = int((one | other).sum())
    return int((one & other).sum()) / union if union else 1.0


def _agreement(samples: Any, prefix: str) -> dict[str, Any]:
    values = []
    for given in samples:
        masks = [entry[1] for name, entry in given.items() if name == "plain" or name.startswith(prefix)]
        if len(masks) > 1:
            values.append(float(np.mean([overlap_of(*pair) for pair in combinations(masks, 2)])))
    return _mean("agreement", values)


def _recoding(samples: Any, name: str) -> dict[str, Any]:
    pairs = [(given["plain"], given[name]) for given in samples if {"plain", name} <= set(given)]
    flips = _mean("flips", [one[0] != other[0] for one, other in pairs])
    return flips | _mean("agreement", [overlap_of(one[1], other[1]) for one, other in pairs])


def _prompting(samples: Any, kind: str) -> dict[str, Any]:
    own, strange = ("plain", "other_words") if kind == "words" else (kind, f"other_{kind}")
    pairs = [(given[own], given[strange]) for given in samples if {own, strange} <= set(given)]
    moved = [1 - overlap_of(one[1], other[1]) for one, other in pairs]
    nearer = [overlap_of(one[1], one[2]) > overlap_of(other[1], one[2]) for one, other in pairs]
    still = {"still": float(np.mean([value == 0 for value in moved])) if moved else None}
    return _mean("moved", moved) | still | _mean("followed", nearer)


def _mean(name: str, values: Sequence[float]) -> dict[str, Any]:
    mean, error = mean_with_error(values) if values else (None, None)
    return {name: mean, f"{name}_se": error, "n": len(values)}


def _coded(mask: np.ndarray) -> tuple[Code, ...]:
    return tuple(encode_mask(frame) for frame in mask)


def _decoded(codes: Sequence[Code]) -> np.ndarray:
    return np.stack([decode_mask(code) for code in codes])


__all__ = ["RobustnessScores", "overlap_of"]
