"""RefShapes, part six: the kinds of conversations, and everything of one kind that can be said of a scene.

A kind and the objects of a scene enter, expressions leave. `dataset.py` draws one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from . import language as language
from . import questions as questions
from .dialogues import mixed_turn_expressions, turn_expressions
from .language import Expression
from .scene import SceneObject
from .sets import example_expressions, set_expressions

EVENTS = ("late", "occlusion")
SEGMENT_KINDS = ("attribute", "relation", "superlative", "negation", "look_alike", "multiple", "no_target", "set")
PICTURE_ANSWER_KINDS = ("qa_color", "qa_count", "qa_exist", "qa_where", "caption", "caption_plain", "region")
PICTURE_ANSWER_KINDS += ("example", "turns", "mixed_turns", "verify")
# Kinds of their own, so that pictures and videos drawn with one list of kinds stay what they were.
VIDEO_ANSWER_KINDS = ("video_caption", "video_caption_plain", "video_region")
ANSWER_KINDS = (*PICTURE_ANSWER_KINDS, *VIDEO_ANSWER_KINDS)
ALL_PICTURE_KINDS = (*SEGMENT_KINDS, *PICTURE_ANSWER_KINDS)
VIDEO_SEGMENT_KINDS = ("attribute", "motion", *EVENTS, "multiple", "no_target")
ALL_VIDEO_KINDS = (*VIDEO_SEGMENT_KINDS, "set", *VIDEO_ANSWER_KINDS)
# Their words are not in the vocabulary of earlier checkpoints.
LATER_KINDS = ("set", "example", "turns", "mixed_turns", *VIDEO_ANSWER_KINDS)


def expressions_of(
    kind: str,
    objects: Sequence[SceneObject],
    visible: np.ndarray,
    rng: np.random.Generator,
    scale: float,
) -> list[Expression]:
    """Everything of one kind that can be said; targets other than late ones are there from frame 0.

    Args:
        kind: one of `ALL_PICTURE_KINDS` or `ALL_VIDEO_KINDS`.
        objects: of the scene. visible: `(T, O)` visible share of each. rng: for the kinds that are drawn.
        scale: pixels per pixel at 128 x 128.
    """
    builders: dict[str, Callable[[], Iterator[Expression] | list[Expression]]] = {
        "attribute": partial(language.attribute_expressions, objects),
        "relation": partial(language.relation_expressions, objects, scale),
        "superlative": partial(language.superlative_expressions, objects, scale),
        "negation": partial(language.negation_expressions, objects),
        "look_alike": partial(language.look_alike_expressions, objects),
        "multiple": partial(_several, objects, rng),
        "no_target": partial(language.no_target_expressions, objects),
        "motion": partial(language.motion_expressions, objects),
        "late": partial(language.late_expressions, objects),
        "occlusion": partial(language.occlusion_expressions, objects, visible),
        "qa_color": partial(questions.color_questions, objects),
        "qa_count": partial(questions.count_questions, rng, objects),
        "qa_exist": partial(questions.existence_questions, rng, objects),
        "qa_where": partial(questions.place_questions, objects, scale),
        "caption": lambda: [questions.caption_expression(objects)],
        "caption_plain": lambda: [questions.plain_caption_expression(objects)],
        "region": partial(questions.region_expressions, objects),
        "video_caption": lambda: [questions.caption_expression(objects, True)],
        "video_caption_plain": lambda: [questions.plain_caption_expression(objects, True)],
        "video_region": partial(questions.region_expressions, objects, True),
        "set": partial(set_expressions, rng, objects),
        "example": partial(example_expressions, rng, objects),
        "turns": partial(turn_expressions, objects, scale),
        "mixed_turns": partial(mixed_turn_expressions, rng, objects, scale),
        "verify": partial(questions.verify_expressions, rng, objects),
    }
    expressions = list(builders[kind]())
    if kind == "late":
        return expressions
    return [e for e in expressions if all(objects[shown].first_frame == 0 for shown in _shown(e))]


def _shown(expression: Expression) -> tuple[int, ...]:
    """Objects that have to be seen in the first frame."""
    return expression.targets if expression.region is None else (*expression.targets, expression.region)


def _several(objects: Sequence[SceneObject], rng: np.random.Generator) -> list[Expression]:
    """Lists of single objects and, as often where there is one, plural groups."""
    plurals = list(language.plural_expressions(objects))
    if plurals and rng.random() < 0.5:
        return plurals
    return list(language.list_expressions(rng, list(language.attribute_expressions(objects)))) or plurals


__all__ = [
    "ALL_PICTURE_KINDS",
    "ALL_VIDEO_KINDS",
    "ANSWER_KINDS",
    "EVENTS",
    "LATER_KINDS",
    "SEGMENT_KINDS",
    "VIDEO_ANSWER_KINDS",
    "VIDEO_SEGMENT_KINDS",
    "expressions_of",
]
