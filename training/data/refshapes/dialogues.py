"""RefShapes, part eight: dialogues of several turns, in which the last one needs the ones before.

Objects of a scene enter, expressions of the kind `turns` leave; their text is the last turn of the user, and what was
said before stands in `earlier`. Masks of earlier turns are addressed by their place ("the second one"), denied ("not
that one") and asked about ("what color is it?"); none of these words says which object is meant.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .language import SINGLE_ANSWER, Expression, attribute_expressions, group_by, make_phrase, plural
from .scene import COLOR_NAMES, SceneObject
from .sets import left_to_right, set_answer

ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")
REQUEST = "Please segment {}."
OTHER_REQUEST = "Not that one, the other one."
COLOR_QUESTION = "What color is it?"
CLEAR = 8  # pixels at 128 x 128 between neighbours whose order is asked for, as between superlatives


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


__all__ = ["COLOR_QUESTION", "ORDINALS", "OTHER_REQUEST", "turn_expressions"]
