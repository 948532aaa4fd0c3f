"""What the folders share that `evaluate.load("eval/metrics/NAME")` reads, one metric each.

Enters: the words about a metric and its columns; later what was collected in them. Leaves: what `evaluate` wants to
know; figures. (Engineering; no paper section.)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import datasets
import evaluate

TEXT, YES, NUMBER = datasets.Value("string"), datasets.Value("bool"), datasets.Value("int64")
TEXTS = datasets.Sequence(TEXT)
MASK = datasets.Sequence(datasets.Sequence(YES))  # (height, width)
MASKS = datasets.Sequence(MASK)  # of frames, or of objects
INDICES = datasets.Sequence(datasets.Sequence(datasets.Sequence(datasets.Value("uint8"))))  # of frames


def told(description: str, inputs: str, citation: str, **columns: Any) -> evaluate.MetricInfo:
    """What `evaluate` is told of a metric: words, and the feature of every column by its name."""
    features = datasets.Features(columns)
    return evaluate.MetricInfo(
        description=description, inputs_description=inputs, citation=citation, features=features
    )


def computed(scores: Any, *columns: Iterable[Any]) -> dict[str, Any]:
    """The figures of a fresh metric, to which the rows of some columns of one length are added."""
    for row in zip(*columns, strict=True):
        scores.add(*row)
    return scores.compute()


__all__ = ["INDICES", "MASK", "MASKS", "NUMBER", "TEXT", "TEXTS", "YES", "computed", "told"]
