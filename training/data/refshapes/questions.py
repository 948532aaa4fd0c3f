"""RefShapes, part four: questions answered in words, captions and region prompts.

Objects of a scene enter, expressions of the kinds `qa_color`, `qa_count`, `qa_exist`, `qa_where`, `caption`,
`caption_plain`, `region` and `verify` leave; their text is the user's whole turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from .language import (
    CAPTION_REQUEST,
    MOTION_PHRASES,
    NUMBERS,
    PLACE_QUESTION,
    PLACES,
    PLAIN_CAPTION_REQUEST,
    PLAIN_VIDEO_CAPTION_REQUEST,
    REGION_REQUEST,
    VERIFY_REQUEST,
    VIDEO_CAPTION_REQUEST,
    Expression,
    attribute_expressions,
    group_by,
    make_phrase,
    no_target_expressions,
    plural,
)
from .scene import COLOR_NAMES, REFERENCE_SIZE, SHAPES, SceneObject


def color_questions(objects: Sequence[SceneObject]) -> Iterator[Expression]:
    """Ask "What color is the circle?" for every unique shape, or size and shape."""
    for keys in (("shape",), ("size", "shape")):
        for values, members in group_by(objects, keys).items():
            if len(members) == 1:
                text = f"What color is the {make_phrase(keys, values)}?"
                yield Expression("qa_color", text, (), objects[members[0]].color)


def count_questions(rng: np.random.Generator, objects: Sequence[SceneObject]) -> Iterator[Expression]:
    """Ask "How many circles are there?": four times in five about a shape that is there."""
    present = sorted({item.shape for item in objects})
    pool = present if rng.random() < 0.8 else SHAPES
    shape = pool[int(rng.integers(len(pool)))]
    number = NUMBERS[sum(item.shape == shape for item in objects)]
    yield Expression("qa_count", f"How many {plural(shape)} are there?", (), number)


def existence_questions(rng: np.random.Generator, objects: Sequence[SceneObject]) -> Iterator[Expression]:
    """Ask "Is there a red circle?", as often "yes" as "no"; a "no" is one attribute away from the truth."""
    if rng.random() < 0.5:
        item = objects[int(rng.integers(len(objects)))]
        yield Expression("qa_exist", f"Is there {with_article(f'{item.color} {item.shape}')}?", (), "yes")
        return
    absent = [e.text for e in no_target_expressions(objects) if _is_color_shape(e.text)]
    phrase = absent[int(rng.integers(len(absent)))].removeprefix("the ")
    yield Expression("qa_exist", f"Is there {with_article(phrase)}?", (), "no")


def place_questions(objects: Sequence[SceneObject], scale: float) -> Iterator[Expression]:
    """Ask "Is the red circle left, right, up, down?" of every unique phrase; the answer is one of `PLACES`.

    The picture is cut into thirds either way; centres nearer than 4 px to a cut are not asked for.
    """
    third = REFERENCE_SIZE * scale / 3
    for single in attribute_expressions(objects):
        item = objects[single.targets[0]]
        if all(abs(value - cut * third) >= 4 * scale for value in (item.center_x, item.center_y) for cut in (1, 2)):
            place = PLACES[int(item.center_y // third)][int(item.center_x // third)]
            yield Expression("qa_where", PLACE_QUESTION.format(single.text), (), place, anchors=single.targets)


def plain_caption_expression(objects: Sequence[SceneObject], video: bool = False) -> Expression:
    """The caption without masks: every object from left to right, of a video with its motion."""
    kind, request = (
        ("video_caption_plain", PLAIN_VIDEO_CAPTION_REQUEST)
        if video
        else (
            "caption_plain",
            PLAIN_CAPTION_REQUEST,
        )
    )
    return Expression(kind, request, (), ", ".join(_described(objects[m], video) for m in _ordered(objects)) + ".")


def caption_expression(objects: Sequence[SceneObject], video: bool = False) -> Expression:
    """The grounded caption: every object from left to right, of a video with its motion."""
    kind, request = ("video_caption", VIDEO_CAPTION_REQUEST) if video else ("caption", CAPTION_REQUEST)
    ordered = _ordered(objects)
    answer = ", ".join(f"<p> {_described(objects[m], video)} </p> [SEG]" for m in ordered) + "."
    return Expression(kind, request, tuple(ordered), answer)


def _ordered(objects: Sequence[SceneObject]) -> list[int]:
    return sorted(range(len(objects)), key=lambda m: objects[m].center_x)


def _described(item: SceneObject, video: bool) -> str:
    return f"a {item.label} {MOTION_PHRASES[item.motion]}" if video else f"a {item.label}"


def region_expressions(objects: Sequence[SceneObject], video: bool = False) -> Iterator[Expression]:
    """Ask "What is region 1?" about every object, in a video as the first frame shows it."""
    for index, item in enumerate(objects):
        kind = "video_region" if video else "region"
        yield Expression(kind, REGION_REQUEST, (), f"a {item.label}", region=index)


def verify_expressions(rng: np.random.Generator, objects: Sequence[SceneObject]) -> Iterator[Expression]:
    """Ask "Is region 1 the red circle?", as often "yes" as "no".

    "Yes" outlines the only object that fits. "No" outlines another one, or asks, as often, for what no object is.
    """
    singles = list(attribute_expressions(objects))
    true = singles[int(rng.integers(len(singles)))]
    target = true.targets[0]
    if rng.random() < 0.5:
        yield Expression("verify", VERIFY_REQUEST.format(true.text), (), "yes", region=target, anchors=(target,))
        return
    others = [index for index in range(len(objects)) if index != target]
    shown = others[int(rng.integers(len(others)))]
    absent = [expression.text for expression in no_target_expressions(objects)]
    text = absent[int(rng.integers(len(absent)))] if rng.random() < 0.5 else true.text
    yield Expression("verify", VERIFY_REQUEST.format(text), (), "no", region=shown, anchors=(shown,))


def with_article(phrase: str) -> str:
    """The phrase after "a" or "an"."""
    return f"an {phrase}" if phrase[0] in "aeiou" else f"a {phrase}"


def _is_color_shape(text: str) -> bool:
    """Whether an expression is exactly "the <colour> <shape>"."""
    words = text.split()
    return len(words) == 3 and words[1] in COLOR_NAMES and words[2] in SHAPES


__all__ = [
    "caption_expression",
    "color_questions",
    "count_questions",
    "existence_questions",
    "place_questions",
    "plain_caption_expression",
    "region_expressions",
    "verify_expressions",
    "with_article",
]
