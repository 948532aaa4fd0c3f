"""Which RefShapes samples are scored: one expression per scene, the shares of the kinds met exactly.

A split, a level, a seed and a number enter, `Sample`s with one conversation leave, always the same ones. The generator
draws a kind first and then a scene that can carry it; scenes come in the order of their index, and one is passed over
when its kind has its share. So kinds that few scenes allow (28 % allow a relation) keep their share, and the scenes of
a kind are those the generator gives it. (The paper names no procedural set.)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from desa2va.training.data.refshapes import Expression, RefShapes
from desa2va.training.data.sample import Sample

_ENDLESS = 1 << 40


def apportion(shares: dict[str, float], count: int) -> dict[str, int]:
    """Whole numbers that sum to `count` and are as near to the shares as possible (largest remainders; ties in order).

    Args:
        shares: positive weights; need not sum to one.
        count: at least 0.
    """
    total = sum(shares.values())
    exact = {kind: count * share / total for kind, share in shares.items()}
    whole = {kind: math.floor(value + 1e-9) for kind, value in exact.items()}
    by_remainder = sorted(exact, key=lambda kind: round(whole[kind] - exact[kind], 9))
    for kind in by_remainder[: count - sum(whole.values())]:
        whole[kind] += 1
    return whole


def draw_samples(
    split: str,
    level: str,
    seed: int,
    kinds: dict[str, float],
    count: int,
    *,
    videos: bool = False,
    **restrictions: Any,
) -> Iterator[Sample]:
    """The samples of `draw_expressions` alone, with the same arguments."""
    return (sample for sample, _ in draw_expressions(split, level, seed, kinds, count, videos=videos, **restrictions))


def draw_expressions(
    split: str,
    level: str,
    seed: int,
    kinds: dict[str, float],
    count: int,
    *,
    videos: bool = False,
    **restrictions: Any,
) -> Iterator[tuple[Sample, Expression]]:
    """Samples with one conversation each, and the bare expression that it asks for.

    Args:
        split: as in `RefShapes`.
        level: as in `RefShapes`.
        seed: as in `RefShapes`.
        kinds: shares of the conversation kinds.
        count: number of samples.
        videos: videos instead of pictures.
        restrictions: what is kept back or tested: `held_out`, `unasked`, ... of `RefShapes`.
    """
    left = apportion(kinds, count)
    data = RefShapes(
        split,
        level,
        seed=seed,
        length=_ENDLESS,
        conversations=1,
        kinds=kinds,
        video_fraction=float(videos),
        **restrictions,
    )
    index = 0
    while any(left.values()):
        sample, (expression,) = data.with_expressions(index)
        index += 1
        kind = sample.conversations[0].kind
        if left[kind]:
            left[kind] -= 1
            yield sample, expression


__all__ = ["apportion", "draw_expressions", "draw_samples"]
