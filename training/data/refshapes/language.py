"""RefShapes, part three: what can truthfully be asked to be segmented.

Objects of a scene enter, expressions leave (`questions.py` adds what is answered in words). Each is true of
exactly the objects it names; margins (pixels at 128 x 128) keep comparisons clear to the eye:

* attribute: one of six key sets (shape; colour shape; size shape; size colour shape; colour; size colour), unique.
* relation: "the circle left of the red square": two or more circles, so the relation is needed; the target is more
  than 8 px beyond the anchor, every other candidate at least 4 px on its other side; the anchor's phrase is unique.
* superlative: "the largest circle", "the leftmost object": the runner-up is 8 px away, or 3 px smaller in radius.
* negation: "the circle that is not red": exactly one remains, and something had to be excluded.
* look_alike: an attribute phrase whose object shares exactly two of size, colour and shape with another one, so that
  the phrase needs the third.
* multiple: "the red circle and the blue square", or a plural group ("all circles") listed from left to right.
* no_target: a phrase, one attribute away from an object, that fits nothing.
* motion: "the circle moving to the left": two or more circles, one of which moves so.
* late: an object that is not there at first, by its attributes or as "the circle that appears late".
* occlusion: attributes of an object that is covered by half or more in some frame.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from desa2va.processing.batch import VERIFY_REQUEST
from desa2va.training.data.wording import SINGLE_ANSWER, bare_phrase

from .scene import COLOR_NAMES, OCCLUDED_BELOW, SHAPES, SIZES, SceneObject

KEY_SETS = (
    ("shape",),
    ("color", "shape"),
    ("size", "shape"),
    ("size", "color", "shape"),
    ("color",),
    ("size", "color"),
)
RELATIONS = {
    "left of": ("center_x", 1),
    "right of": ("center_x", -1),
    "above": ("center_y", 1),
    "below": ("center_y", -1),
}
SUPERLATIVES = {
    "largest": ("radius", -1),
    "smallest": ("radius", 1),
    "leftmost": ("center_x", 1),
    "rightmost": ("center_x", -1),
    "topmost": ("center_y", 1),
    "bottommost": ("center_y", -1),
}
NEGATIONS = ((("shape",), "color"), (("color",), "shape"), (("shape",), "size"), ((), "color"), ((), "shape"))
MOTION_PHRASES = {
    "left": "moving to the left",
    "right": "moving to the right",
    "up": "moving up",
    "down": "moving down",
}
LATE_CLAUSE = "that appears late"
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six")
SEGMENT_TEMPLATES = (
    "Please segment {}.",
    "segment {}",
    "Where {verb} {}?",
    "Find {}.",
    "Can you segment {}?",
    "{}",
)
CAPTION_REQUEST = "Describe the image with masks."
VIDEO_CAPTION_REQUEST = "Describe the video with masks."
PLAIN_CAPTION_REQUEST = "Describe the image."
PLAIN_VIDEO_CAPTION_REQUEST = "Describe the video."
# Not "Where is {}?", which asks for a mask. Down each column: above, level, below; "no" is the middle.
PLACE_QUESTION = "Is {} left, right, up, down?"
PLACES = (("up left", "up", "up right"), ("left", "no", "right"), ("down left", "down", "down right"))
REGION_REQUEST = "What is region 1?"


@dataclass(frozen=True)
class Expression:
    """One thing that can be said.

    Attributes:
        kind: e.g. "attribute".
        text: e.g. "the red circle"; a full question for question-answering kinds.
        targets: scene objects meant, in the order of the answer's `[SEG]`.
        answer: the assistant's text.
        plural: whether a verb for it is "are".
        region: the scene object drawn as visual prompt, or `None`.
        anchors: scene objects that are named without being a target.
        earlier: turns before, `(user, assistant)`; the targets of their `[SEG]` come first.
        named: what was said of each target, where the texts alone do not tell.
    """

    kind: str
    text: str
    targets: tuple[int, ...]
    answer: str = SINGLE_ANSWER
    plural: bool = False
    region: int | None = None
    anchors: tuple[int, ...] = ()
    earlier: tuple[tuple[str, str], ...] = ()
    named: tuple[str, ...] = ()

    @property
    def said(self) -> str:
        """All turns, user and assistant, as one text."""
        return "\n".join((*(text for turn in self.earlier for text in turn), self.text, self.answer))

    @property
    def phrases(self) -> list[str]:
        """What was said of each target, without its article, e.g. "circle left of the red square"."""
        if self.named:
            return list(self.named)
        found, phrase = [], self.text.removeprefix("the ")
        if self.earlier:
            phrase = bare_phrase(self.earlier[0][0].removeprefix("Please segment "))
        for match in re.finditer(r"<p> (?:the |a )?(.*?) </p>|\[SEG\]", self.said):
            if match[1] is None:
                found.append(phrase)
            else:
                phrase = match[1]
        return found


def attribute_expressions(objects: Sequence[SceneObject]) -> Iterator[Expression]:
    """Every phrase of the six key sets that fits exactly one object."""
    for keys in KEY_SETS:
        for values, members in group_by(objects, keys).items():
            if len(members) == 1:
                yield Expression("attribute", "the " + make_phrase(keys, values), (members[0],))


def relation_expressions(objects: Sequence[SceneObject], scale: float) -> Iterator[Expression]:
    """Every needed and clear relation; `scale` is pixels per pixel at 128 x 128."""
    anchors = [
        (members[0], make_phrase(keys, values))
        for keys in (("shape",), ("color", "shape"))
        for values, members in group_by(objects, keys).items()
        if len(members) == 1
    ]
    for keys in (("shape",), ("color", "shape"), ("color",)):
        for values, members in group_by(objects, keys).items():
            if len(members) < 2:
                continue
            for anchor, anchor_phrase in anchors:
                if anchor in members:
                    continue
                for relation, (axis, sign) in RELATIONS.items():
                    place = sign * getattr(objects[anchor], axis)
                    ordered = sorted((sign * getattr(objects[m], axis), m) for m in members)
                    if ordered[0][0] < place - 8 * scale and ordered[1][0] >= place + 4 * scale:
                        text = f"the {make_phrase(keys, values)} {relation} the {anchor_phrase}"
                        yield Expression("relation", text, (ordered[0][1],), anchors=(anchor,))


def superlative_expressions(objects: Sequence[SceneObject], scale: float) -> Iterator[Expression]:
    """Every clear superlative among two or more objects."""
    for keys in (("shape",), ("color",), ()):
        for values, members in group_by(objects, keys).items():
            if len(members) < 2:
                continue
            for word, (axis, sign) in SUPERLATIVES.items():
                ordered = sorted((sign * getattr(objects[m], axis), m) for m in members)
                if ordered[1][0] - ordered[0][0] >= (3 if axis == "radius" else 8) * scale:
                    yield Expression("superlative", f"the {word} {make_phrase(keys, values)}", (ordered[0][1],))


def negation_expressions(objects: Sequence[SceneObject]) -> Iterator[Expression]:
    """Such as "the circle that is not red", "the red object that is not a circle", "the circle that is not small"."""
    for keys, other in NEGATIONS:
        for values, members in group_by(objects, keys).items():
            for value in sorted({getattr(objects[m], other) for m in members}):
                rest = tuple(m for m in members if getattr(objects[m], other) != value)
                if len(rest) == 1:
                    article = "a " if other == "shape" else ""
                    yield Expression("negation", f"the {make_phrase(keys, values)} that is not {article}{value}", rest)


def look_alike_expressions(objects: Sequence[SceneObject]) -> Iterator[Expression]:
    """Attribute phrases of objects with a look-alike; fitting one alone, such a phrase says what tells them apart."""
    factors = [{item.size, item.color, item.shape} for item in objects]
    for single in attribute_expressions(objects):
        if any(len(factors[single.targets[0]] & other) == 2 for other in factors):
            yield replace(single, kind="look_alike")


def plural_expressions(objects: Sequence[SceneObject]) -> Iterator[Expression]:
    """Such as "all circles", "all red circles", "all red objects": two or more, from left to right."""
    for keys in (("shape",), ("color", "shape"), ("color",)):
        for values, members in group_by(objects, keys).items():
            if len(members) >= 2:
                ordered = sorted(members, key=lambda m: objects[m].center_x)
                answer = phrase_answer([f"the {objects[m].label}" for m in ordered])
                yield Expression("multiple", f"all {plural(make_phrase(keys, values))}", tuple(ordered), answer, True)


def list_expressions(rng: np.random.Generator, singles: Sequence[Expression], count: int = 6) -> Iterator[Expression]:
    """Up to `count` random lists of two or three different objects, each by a unique phrase of `singles`."""
    by_target: dict[int, list[str]] = defaultdict(list)
    for single in singles:
        by_target[single.targets[0]].append(single.text)
    if len(by_target) < 2:
        return
    for _ in range(count):
        length = 2 if len(by_target) == 2 or rng.random() < 0.7 else 3
        targets = tuple(int(t) for t in rng.permutation(sorted(by_target))[:length])
        phrases = [by_target[t][int(rng.integers(len(by_target[t])))] for t in targets]
        yield Expression("multiple", join(phrases), targets, phrase_answer(phrases), True)


def no_target_expressions(objects: Sequence[SceneObject]) -> Iterator[Expression]:
    """Phrases that fit nothing although one attribute of an object would make them true."""
    choices = {"shape": SHAPES, "color": COLOR_NAMES, "size": SIZES}
    for keys in KEY_SETS[:4]:
        present = group_by(objects, keys)
        near = {
            tuple(other if k == changed else v for k, v in zip(keys, values, strict=True))
            for values in present
            for changed in keys
            for other in choices[changed]
        }
        for values in sorted(near - set(present)):
            phrase = make_phrase(keys, values)
            yield Expression("no_target", f"the {phrase}", (), f"There is no {phrase}.")


def motion_expressions(objects: Sequence[SceneObject]) -> Iterator[Expression]:
    """Phrases that need the motion: two or more objects fit the words before it, one moves so."""
    for keys in (*KEY_SETS, ()):
        for values, members in group_by(objects, keys).items():
            if len(members) < 2:
                continue
            for motion, clause in MOTION_PHRASES.items():
                moving = tuple(m for m in members if objects[m].motion == motion)
                if len(moving) == 1:
                    yield Expression("motion", f"the {make_phrase(keys, values)} {clause}", moving)


def late_expressions(objects: Sequence[SceneObject]) -> Iterator[Expression]:
    """The object that is not there at first: by unique attributes, or by the clause among objects of its words."""
    for single in attribute_expressions(objects):
        if objects[single.targets[0]].first_frame > 0:
            yield Expression("late", single.text, single.targets)
    for keys in (("shape",), ("color", "shape"), ()):
        for values, members in group_by(objects, keys).items():
            late = tuple(m for m in members if objects[m].first_frame > 0)
            if len(late) == 1:
                yield Expression("late", f"the {make_phrase(keys, values)} {LATE_CLAUSE}", late)


def occlusion_expressions(objects: Sequence[SceneObject], visible: np.ndarray) -> Iterator[Expression]:
    """Attributes of objects there from the first frame and at least half covered later; `visible` is `(T, O)`."""
    for single in attribute_expressions(objects):
        target = single.targets[0]
        if objects[target].first_frame == 0 and visible[:, target].min() < OCCLUDED_BELOW:
            yield Expression("occlusion", single.text, single.targets)


def request(rng: np.random.Generator, expression: Expression) -> str:
    """One of `SEGMENT_TEMPLATES` around the expression."""
    template = SEGMENT_TEMPLATES[int(rng.integers(len(SEGMENT_TEMPLATES)))]
    return template.format(expression.text, verb="are" if expression.plural else "is")


def phrase_answer(phrases: Sequence[str]) -> str:
    """Such as "Sure, <p> the red circle </p> [SEG] and <p> the blue square </p> [SEG]."."""
    return f"Sure, {join([f'<p> {phrase} </p> [SEG]' for phrase in phrases])}."


def join(parts: Sequence[str]) -> str:
    """Write a list as "a", "a and b", "a, b and c"."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def plural(phrase: str) -> str:
    """The phrase with its last word in the plural."""
    return f"{phrase}es" if phrase.endswith("s") else f"{phrase}s"


def vocabulary_corpus() -> list[str]:
    """Texts that together hold every word and punctuation mark of RefShapes' first kinds; `later_words` has the rest.

    Each word appears in the positions it can take: inside a text (after a blank) and, where it can, as its first word.
    """
    red, blue = "the small red circle", "the large blue square"
    corpus = [t.format(e, verb=v) for t in SEGMENT_TEMPLATES for e, v in ((red, "is"), ("all circles", "are"))]
    corpus += [f"the {word} {shape}" for shape in (*SHAPES, "object") for word in (*SIZES, *COLOR_NAMES)]
    corpus += [f"all {color} {plural(shape)}" for shape in (*SHAPES, "object") for color in COLOR_NAMES]
    corpus += [f"{red} {relation} {blue}" for relation in RELATIONS]
    corpus += [f"the {word} object" for word in SUPERLATIVES]
    corpus += [f"the circle {clause}" for clause in (*MOTION_PHRASES.values(), LATE_CLAUSE)]
    corpus += ["the circle that is not red", "the red object that is not a circle", "There is no red circle."]
    corpus += [f"{red}, {blue} and the ring", SINGLE_ANSWER, phrase_answer([red, blue, "the ring"])]
    corpus += [CAPTION_REQUEST, f"<p> a {red[4:]} </p> [SEG], <p> a {blue[4:]} </p> [SEG].", REGION_REQUEST]
    corpus += [PLAIN_CAPTION_REQUEST, PLACE_QUESTION.format(red), *[name for row in PLACES for name in row]]
    corpus += ["a small red circle", "What color is the circle?", "Is there a red circle?", "Is there an orange ring?"]
    corpus += [f"How many {plural(shape)} are there?" for shape in SHAPES]
    return [*corpus, *COLOR_NAMES, *NUMBERS, "yes", "no"]


def later_words() -> list[str]:
    """Words of the kinds that came after the first vocabulary; their ids follow those of `vocabulary_corpus`."""
    return ["every", "like", "first", "second", "third", "fourth", "fifth", "sixth", "Not", "other", "video"]


def group_by(objects: Sequence[SceneObject], keys: tuple[str, ...]) -> dict[tuple[str, ...], list[int]]:
    """Indices of the objects by their values of `keys`."""
    groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for index, item in enumerate(objects):
        groups[tuple([getattr(item, key) for key in keys])].append(index)
    return groups


def make_phrase(keys: tuple[str, ...], values: tuple[str, ...]) -> str:
    """Values in the order of the keys, closed by "object" where no shape is named."""
    return " ".join(values if "shape" in keys else (*values, "object"))


__all__ = [
    "CAPTION_REQUEST",
    "KEY_SETS",
    "LATE_CLAUSE",
    "MOTION_PHRASES",
    "NUMBERS",
    "PLACES",
    "PLACE_QUESTION",
    "PLAIN_CAPTION_REQUEST",
    "REGION_REQUEST",
    "PLAIN_VIDEO_CAPTION_REQUEST",
    "RELATIONS",
    "SEGMENT_TEMPLATES",
    "SINGLE_ANSWER",
    "SUPERLATIVES",
    "VERIFY_REQUEST",
    "VIDEO_CAPTION_REQUEST",
    "Expression",
    "attribute_expressions",
    "late_expressions",
    "list_expressions",
    "look_alike_expressions",
    "motion_expressions",
    "negation_expressions",
    "no_target_expressions",
    "occlusion_expressions",
    "group_by",
    "later_words",
    "make_phrase",
    "phrase_answer",
    "plural",
    "plural_expressions",
    "relation_expressions",
    "request",
    "superlative_expressions",
    "vocabulary_corpus",
]
