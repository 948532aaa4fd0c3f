"""RefShapes, part five: what is kept from a split, so that another can test it.

An expression and the scene's objects enter, whether it may be said leaves. Two things can be kept back: combinations
of size, colour and shape that no picture shows, and words that no request says. The very same lists, turned round,
make the test: only such combinations, or only such words, are asked for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

from desa2va.argument_types import unknown_name

from .language import RELATIONS, Expression, plural
from .scene import COLOR_NAMES, SHAPES, SIZES, SceneObject

LABELS = tuple(" ".join(values) for values in product(SIZES, COLOR_NAMES, SHAPES))
WORDS = (*COLOR_NAMES, *SHAPES)
_END_OF_TARGET = re.compile(rf" (?:{'|'.join((*RELATIONS, 'that', 'moving'))}) ")


@dataclass(frozen=True)
class Restrictions:
    """What may be shown and said.

    Attributes:
        held_out: labels such as "small red circle" that no object has and no sentence names.
        unasked: colours and shapes that no sentence says, and whose objects are neither targets nor the reference
            of a relation; pictures show them all the same.
        targets_held_out: pictures may show everything, and every target is one of `held_out`.
        targets_unasked: everything may be said, and the words of `unasked` name every target.

    Raises:
        ValueError: an unknown label or word, nothing left to show or to ask for, or a test of nothing.
    """

    held_out: frozenset[str] = frozenset()
    unasked: frozenset[str] = frozenset()
    targets_held_out: bool = False
    targets_unasked: bool = False

    def __post_init__(self) -> None:
        for label in self.held_out - set(LABELS):
            raise ValueError(f"held_out {label!r} is no size, colour and shape such as {LABELS[0]!r}")
        for word in self.unasked - set(WORDS):
            raise ValueError(f"unasked {unknown_name(str(word), WORDS)}")
        for option in ("held_out", "unasked"):
            if getattr(self, f"targets_{option}") and not getattr(self, option):
                raise ValueError(f"targets_{option} needs {option}: it asks for nothing else")
        if len(self.held_out) == len(LABELS):
            raise ValueError("held_out leaves no combination to show")
        if self.unasked >= set(SHAPES) or self.unasked >= set(COLOR_NAMES):
            raise ValueError("unasked leaves no shape or no colour to ask for")

    @property
    def hidden(self) -> frozenset[str]:
        """Labels that no object of a picture has."""
        return frozenset() if self.targets_held_out else self.held_out

    def allow(self, expression: Expression, objects: Sequence[SceneObject]) -> bool:
        """Whether the expression may be said of a scene with these objects."""
        return self._allows_labels(expression, objects) and self._allows_words(expression, objects)

    def _allows_labels(self, expression: Expression, objects: Sequence[SceneObject]) -> bool:
        if not self.held_out:
            return True
        if self.targets_held_out:
            return _all_targets(expression, [objects[target].label in self.held_out for target in expression.targets])
        # "There is no small red circle." would teach that there never is one.
        return not _holds(expression.said, self.held_out)

    def _allows_words(self, expression: Expression, objects: Sequence[SceneObject]) -> bool:
        if not self.unasked:
            return True
        if self.targets_unasked:
            head = _named(_END_OF_TARGET.split(expression.text)[0], self.unasked)
            return _all_targets(expression, [bool(_factors(objects[target]) & head) for target in expression.targets])
        shown = (*expression.targets, *expression.anchors)
        return not (
            _named(expression.said, self.unasked) or any(_factors(objects[index]) & self.unasked for index in shown)
        )


def _all_targets(expression: Expression, right: list[bool]) -> bool:
    """Whether there is a target and each of them is right."""
    return bool(expression.targets) and all(right)


def _factors(item: SceneObject) -> set[str]:
    return {item.color, item.shape}


# A stream of scenes says a few thousand sentences again and again, and asks this of each of them.
@lru_cache(maxsize=1 << 15)
def _holds(text: str, labels: frozenset[str]) -> bool:
    """Whether a text holds one of the labels."""
    return any(label in text for label in labels)


@lru_cache(maxsize=1 << 15)
def _named(text: str, words: frozenset[str]) -> frozenset[str]:
    """Those of the words that a text says, in the singular or the plural."""
    said = set(re.findall(r"[a-z]+", text.lower()))
    return frozenset(word for word in words if word in said or plural(word) in said)


__all__ = ["LABELS", "Restrictions"]
