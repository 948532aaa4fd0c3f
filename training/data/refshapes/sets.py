"""RefShapes, part seven: sets of objects, by words and by example.

Objects of a scene enter, expressions of the kinds `set` and `example` leave. Every instance has a `[SEG]` of its own,
from left to right, and the answer says how many there are:

* set: "all red circles", "every red circle": none to six; where there is none, it is denied as for `no_target`.
* example: "all objects like region 1", one object being marked: those of its colour and shape, itself among them.

The number is drawn before the words, since single objects are far more frequent than groups.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .language import KEY_SETS, NUMBERS, Expression, group_by, make_phrase, no_target_expressions, plural
from .scene import SceneObject

SET_REQUESTS = ("all {plural}", "every {single}")
EXAMPLE_REQUESTS = ("Please segment all objects like region 1.", "Find every object like region 1.")
NONE_SHARE = 0.15


def set_expressions(rng: np.random.Generator, objects: Sequence[SceneObject]) -> list[Expression]:
    """Sets of one drawn number of members, in both wordings."""
    sets: dict[int, list[Expression]] = {}
    if rng.random() < NONE_SHARE:
        for absent in no_target_expressions(objects):
            phrase = absent.text.removeprefix("the ")
            sets.setdefault(0, []).extend(_wordings(phrase, (), absent.answer))
    else:
        for keys in (*KEY_SETS, ()):
            for values, members in group_by(objects, keys).items():
                phrase, ordered = make_phrase(keys, values), left_to_right(objects, members)
                answer = set_answer(phrase, len(ordered))
                sets.setdefault(len(ordered), []).extend(_wordings(phrase, ordered, answer))
    return _of_one_number(rng, sets)


def example_expressions(rng: np.random.Generator, objects: Sequence[SceneObject]) -> list[Expression]:
    """Sets of one drawn number of members, any of which is marked."""
    sets: dict[int, list[Expression]] = {}
    for values, members in group_by(objects, ("color", "shape")).items():
        ordered = left_to_right(objects, members)
        answer = set_answer(" ".join(values), len(ordered))
        sets.setdefault(len(ordered), []).extend(
            Expression("example", text, ordered, answer, True, region=member)
            for member in members
            for text in EXAMPLE_REQUESTS
        )
    return _of_one_number(rng, sets)


def set_answer(phrase: str, count: int) -> str:
    """Such as "Sure, <p> two red circles </p> [SEG] [SEG]."."""
    said = phrase if count == 1 else plural(phrase)
    return f"Sure, <p> {NUMBERS[count]} {said} </p> {' '.join(['[SEG]'] * count)}."


def left_to_right(objects: Sequence[SceneObject], members: Sequence[int]) -> tuple[int, ...]:
    """The members in the order in which they are answered."""
    return tuple(sorted(members, key=lambda member: objects[member].center_x))


def _wordings(phrase: str, members: tuple[int, ...], answer: str) -> list[Expression]:
    texts = [words.format(plural=plural(phrase), single=phrase) for words in SET_REQUESTS]
    return [Expression("set", text, members, answer, text.startswith("all ")) for text in texts]


def _of_one_number(rng: np.random.Generator, sets: dict[int, list[Expression]]) -> list[Expression]:
    """The expressions of one number of members, all numbers being equally likely."""
    numbers = sorted(sets)
    return sets[numbers[int(rng.integers(len(numbers)))]]


__all__ = [
    "EXAMPLE_REQUESTS",
    "SET_REQUESTS",
    "example_expressions",
    "left_to_right",
    "set_answer",
    "set_expressions",
]
