"""ReVOS and Ref-SAV: J, F, pixel accuracy A and robustness R by kind of expression, as their scripts aggregate them.

Clips with the kind of their expression enter, figures of every group leave, in percent as the scripts print them
(paper section 4.1). Conventions of VISA's `eval_revos.py` and Sa2VA's `eval_ref_sav.py`: the value of an expression is
averaged over frames, multiplied by 100 and rounded to two decimals; groups average these; J&F of a group is the mean
of its J and F; "overall" is the mean of the two groups, not of all expressions. Unlike the scripts, which sum true
instances in bytes, all masks are made binary first; where instances overlap their A and R go wrong.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .boundary import boundary_accuracy, checked_clips
from .collected import Collected
from .uncertainty import exact_mean
from .video import jaccard


def pixel_accuracy(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """A of every frame, the share of pixels where both agree: bool `(T, H, W)` to float64 `(T,)`.

    Raises:
        ValueError: shapes differ or are not `(T, H, W)`.
    """
    prediction, truth = checked_clips(prediction, truth)
    return (prediction == truth).mean(axis=(1, 2))


def robustness(prediction: np.ndarray, truth: np.ndarray, foreground: np.ndarray) -> np.ndarray:
    """R of every frame: max(0, 1 - |prediction outside truth| / (|foreground| + 1e-6)).

    Args:
        prediction, truth: bool `(T, H, W)`.
        foreground: union of all objects that any expression of the video names, likewise.

    Returns:
        Float64 `(T,)` in [0, 1].

    Raises:
        ValueError: shapes differ or are not `(T, H, W)`.
    """
    prediction, truth = checked_clips(prediction, truth)
    _, foreground = checked_clips(prediction, foreground)
    wrong, whole = (np.count_nonzero(mask, axis=(1, 2)) for mask in (prediction & ~truth, foreground))
    return np.maximum(1 - wrong / (whole + 1e-6), 0.0)


class ExpressionGroups(Collected):
    """Collects expressions of kinds and computes each group's figures and the mean of the first two.

    Args:
        decimals: to how many each expression's percentage is rounded; the scripts take 2, `None` rounds nothing.
    """

    measures: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    def __init__(self, decimals: int | None = 2) -> None:
        super().__init__()
        self.decimals = decimals

    def _add(self, kind: int, *frames: np.ndarray) -> None:
        """One row: its kind and the mean over frames of each measure.

        Raises:
            ValueError: a kind that the data set does not have, or no frame.
        """
        if kind not in range(len(self.groups)):
            raise ValueError(f"an expression is of kind 0 to {len(self.groups) - 1} ({self.groups}), got {kind!r}")
        if not len(frames[0]):
            raise ValueError("a video needs at least one frame, got none")
        self.rows.append((int(kind), *(float(values.mean()) for values in frames)))

    def compute(self) -> dict[str, Any]:
        """The measures, in percent.

        Returns:
            `n`, and for every group and `overall` a dict with `n`, the measures and `jf`; a group without expressions
            is `None`, and so is `overall` without both of its groups.

        Raises:
            ValueError: no expression was added.
        """
        kinds, *columns = (np.asarray(column) for column in self.columns())
        percent = [100 * column for column in columns]
        if self.decimals is not None:
            percent = [np.round(column, self.decimals) for column in percent]
        figures: dict[str, Any] = {"n": len(self)}
        for kind, name in enumerate(self.groups):
            chosen = kinds == kind
            if not chosen.any():
                figures[name] = None
                continue
            group = {key: exact_mean(values[chosen]) for key, values in zip(self.measures, percent, strict=True)}
            figures[name] = {"n": int(chosen.sum()), **group, "jf": (group["j"] + group["f"]) / 2}
        first, second = (figures[name] for name in self.groups[:2])
        both = first is not None and second is not None
        means = {key: (first[key] + second[key]) / 2 for key in (*self.measures, "jf")} if both else None
        figures["overall"] = {"n": first["n"] + second["n"], **means} if both else None
        return figures


class ReVOS(ExpressionGroups):
    """ReVOS: kind 0 referring, 1 reasoning, 2 "no such object".

    The released script reads kind 2 and reports it nowhere; here it is a group of its own that enters no other figure.
    """

    measures = ("j", "f", "a", "r")
    groups = ("referring", "reasoning", "no_such_object")

    def add(self, prediction: np.ndarray, truth: np.ndarray, foreground: np.ndarray, kind: int) -> None:
        """Add one expression: masks bool `(T, H, W)`, see `robustness`, and its `type_id`.

        Raises:
            ValueError: shapes differ, no frame, or an unknown kind.
        """
        self._add(kind, *_accuracies(prediction, truth), robustness(prediction, truth, foreground))


class RefSAV(ExpressionGroups):
    """Ref-SAV: kind 0 long, 1 short expressions; no R."""

    measures = ("j", "f", "a")
    groups = ("long", "short")

    def add(self, prediction: np.ndarray, truth: np.ndarray, kind: int) -> None:
        """Add one expression: masks bool `(T, H, W)` and its `type_id`.

        Raises:
            ValueError: shapes differ, no frame, or an unknown kind.
        """
        self._add(kind, *_accuracies(prediction, truth))


def _accuracies(prediction: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """J, F and A of every frame."""
    return jaccard(prediction, truth), boundary_accuracy(prediction, truth), pixel_accuracy(prediction, truth)


__all__ = ["ExpressionGroups", "RefSAV", "ReVOS", "pixel_accuracy", "robustness"]
