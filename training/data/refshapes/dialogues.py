"""RefShapes, part eight: dialogues of several turns, in which the last one needs the ones before.

Objects of a scene enter, expressions of two kinds leave; their text is the last turn of the user, and what was said
before stands in `earlier`:

* turns: masks of earlier turns are addressed by their place ("the second one"), denied ("not that one") and asked
  about ("what color is it?"); none of these words says which object is meant.
* mixed_turns: what people ask one after the other: requests of any kind, questions of any kind, what is not there.
  Every turn but "What color is it?" could be said alone: nothing said before answers it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import numpy as np

from .language import (
    SINGLE_ANSWER,
    Expression,
    attribute_expressions,
    group_by,
    make_phrase,
    no_target_expressions,
    plural,
    request,
    superlative_expressions,
)
from .questions import color_questions, count_questions, existence_questions, place_questions
from .scene import COLOR_NAMES, SceneObject
from .sets import left_to_right, set_answer, set_expressions

ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")
REQUEST = "Please segment {}."
OTHER_REQUEST = "Not that one, the other one."
COLOR_QUESTION = "What color is it?"
CLEAR = 8  # pixels at 128 x 128 between neighbours whose order is asked for, as between superlatives

# How often a turn of a mixed dialogue is what; one that the scene does not allow is a request for one object.
STEPS = {
    "attribute": 0.25,
    "superlative": 0.07,
    "no_target": 0.1,
    "set": 0.13,
    "qa_color": 0.15,
    "qa_count": 0.13,
    "qa_exist": 0.12,
    "qa_where": 0.05,
}
TURN_SHARES = (0.45, 0.35, 0.2)  # two, three and four turns
LOOKS_BACK = 0.5  # how often a request that named no colour is followed by the question for it


def turn_expressions(objects: Sequence[SceneObject], scale: float) -> Iterator[Expression]:
    """Everything that can be said in a second or third turn; `scale` is pixels per pixel at 128 x 128."""
    for single in attribute_expressions(objects):
        if not set(single.text.split()) & set(COLOR_NAMES):
            earlier = ((REQUEST.format(single.text), SINGLE_ANSWER),)
            color = objects[single.targets[0]].color
            yield Expression("turns", COLOR_QUESTION, single.targets, color, earlier=earlier)
    for keys in (("shape",), ("color",), ("size",), ()):
        for values, members in group_by(objects, keys).items():
            ordered = left_to_right(objects, members)
            places = [objects[member].center_x for member in ordered]
            gaps = [right - left for left, right in zip(places, places[1:], strict=False)]
            if gaps and min(gaps) >= CLEAR * scale:
                yield from _about_a_set(objects, make_phrase(keys, values), ordered)


def _about_a_set(objects: Sequence[SceneObject], phrase: str, members: tuple[int, ...]) -> Iterator[Expression]:
    """What follows "all circles", answered from left to right."""
    asked = (REQUEST.format(f"all {plural(phrase)}"), set_answer(phrase, len(members)))
    for place, member in enumerate(members):
        ordinal = REQUEST.format(f"the {ORDINALS[place]} one")
        shown = (*members, member)
        yield Expression("turns", ordinal, shown, earlier=(asked,))
        before = (asked, (ordinal, SINGLE_ANSWER))
        if not set(phrase.split()) & set(COLOR_NAMES):
            yield Expression("turns", COLOR_QUESTION, shown, objects[member].color, earlier=before)
        if len(members) == 2:
            yield Expression("turns", OTHER_REQUEST, (*shown, members[1 - place]), earlier=before)


def mixed_turn_expressions(rng: np.random.Generator, objects: Sequence[SceneObject], scale: float) -> list[Expression]:
    """One drawn dialogue of two to four turns, no two alike; `scale` is pixels per pixel at 128 x 128."""
    steps: list[Expression] = []
    turns: list[tuple[str, str]] = []
    for _ in range(2 + int(rng.choice(len(TURN_SHARES), p=TURN_SHARES))):
        if steps and rng.random() < LOOKS_BACK and (color := _color_left_open(steps[-1], objects)):
            step = Expression("qa_color", COLOR_QUESTION, (), color)
        else:
            step = _drawn_step(rng, objects, scale, {text for text, _ in turns})
        steps.append(step)
        turns.append((step.text if step.kind.startswith("qa_") else request(rng, step), step.answer))
    return [
        Expression(
            "mixed_turns",
            turns[-1][0],
            tuple(target for step in steps for target in step.targets),
            turns[-1][1],
            anchors=tuple(anchor for step in steps for anchor in step.anchors),
            earlier=tuple(turns[:-1]),
            named=tuple(phrase for step in steps for phrase in step.phrases),
        )
    ]


def _drawn_step(
    rng: np.random.Generator, objects: Sequence[SceneObject], scale: float, said: Iterable[str]
) -> Expression:
    """One turn by itself, in words that no text of `said` holds where there are others."""
    builders: dict[str, Callable[[], Iterable[Expression]]] = {
        "attribute": partial(attribute_expressions, objects),
        "superlative": partial(superlative_expressions, objects, scale),
        "no_target": partial(no_target_expressions, objects),
        "set": partial(set_expressions, rng, objects),
        "qa_color": partial(color_questions, objects),
        "qa_count": partial(count_questions, rng, objects),
        "qa_exist": partial(existence_questions, rng, objects),
        "qa_where": partial(place_questions, objects, scale),
    }
    drawn = list(STEPS)[int(rng.choice(len(STEPS), p=list(STEPS.values())))]
    choices: list[Expression] = []
    for kind in (drawn, "attribute"):
        possible = list(builders[kind]())
        fresh = [choice for choice in possible if not any(choice.text in text for text in said)]
        choices = fresh or choices or (possible if kind == "attribute" else [])
        if fresh:
            break
    return choices[int(rng.integers(len(choices)))]


def _color_left_open(step: Expression, objects: Sequence[SceneObject]) -> str | None:
    """The colour of the one object that a turn marked without naming its colour."""
    if len(step.targets) != 1 or set(step.text.split()) & set(COLOR_NAMES):
        return None
    return objects[step.targets[0]].color


__all__ = ["COLOR_QUESTION", "ORDINALS", "OTHER_REQUEST", "mixed_turn_expressions", "turn_expressions"]
