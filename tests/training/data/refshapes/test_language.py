"""Every sentence about a scene is checked by a second reading of it that shares no code with the generator."""

import re

import numpy as np
import pytest

from desa2va.training.data.refshapes.dataset import RefShapes

SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
COLORS = ("red", "green", "blue", "yellow", "purple", "orange", "white", "cyan")
EXTREMES = {
    "largest": lambda item: -item["radius"],
    "smallest": lambda item: item["radius"],
    "leftmost": lambda item: item["center_x"],
    "rightmost": lambda item: -item["center_x"],
    "topmost": lambda item: item["center_y"],
    "bottommost": lambda item: -item["center_y"],
}
SIDES = {
    " left of ": lambda item, anchor: anchor["center_x"] - item["center_x"],
    " right of ": lambda item, anchor: item["center_x"] - anchor["center_x"],
    " above ": lambda item, anchor: anchor["center_y"] - item["center_y"],
    " below ": lambda item, anchor: item["center_y"] - anchor["center_y"],
}
MOTIONS = {" moving to the left": "left", " moving to the right": "right", " moving up": "up", " moving down": "down"}
PREFIXES = ("Please segment ", "segment ", "Where is ", "Where are ", "Find ", "Can you segment ")


def strip_request(text):
    for prefix in PREFIXES:
        if text.startswith(prefix):
            return text[len(prefix) :].rstrip(".?")
    return text


def singular(word):
    for shape in (*SHAPES, "object"):
        if word in (f"{shape}s", f"{shape}es"):
            return shape
    return word


def fits(phrase, item):
    """Whether every plain word of a phrase is true of one object."""
    words = [singular(word) for word in phrase.split() if word not in ("the", "a", "an", "all", "object", "objects")]
    words = [word for word in words if word != "object"]
    assert all(word in (*SHAPES, *COLORS, "small", "large") for word in words), phrase
    return all(word in (item["shape"], item["color"], item["size"]) for word in words)


def plain(phrase, objects):
    return [index for index, item in enumerate(objects) if fits(phrase, item)]


def meaning(text, objects):
    """Indices an expression refers to; comparisons must hold with some distance."""
    if " that is not " in text:
        phrase, excluded = text.split(" that is not ")
        return [i for i in plain(phrase, objects) if not fits(excluded, objects[i])]
    if text.endswith(" that appears late"):
        return [i for i in plain(text.removesuffix(" that appears late"), objects) if objects[i]["first_frame"] > 0]
    for clause, motion in MOTIONS.items():
        if text.endswith(clause):
            return [i for i in plain(text.removesuffix(clause), objects) if objects[i]["motion"] == motion]
    for word, side in SIDES.items():
        if word in text:
            phrase, anchor_phrase = text.split(word)
            (anchor,) = plain(anchor_phrase, objects)
            candidates = plain(phrase, objects)
            assert len(candidates) >= 2, "the relation must be needed"
            assert anchor not in candidates
            gaps = {i: side(objects[i], objects[anchor]) for i in candidates}
            assert not any(-4 < gap <= 8 for gap in gaps.values()), "unclear side"
            return [i for i, gap in gaps.items() if gap > 8]
    for word, value in EXTREMES.items():
        if f"the {word} " in text:
            candidates = sorted(plain(text.replace(f"{word} ", ""), objects), key=lambda i: value(objects[i]))
            assert len(candidates) >= 2
            assert value(objects[candidates[1]]) - value(objects[candidates[0]]) >= (3 if "est" in word else 8)
            return candidates[:1]
    if text.startswith("all "):
        return sorted(plain(text, objects), key=lambda i: objects[i]["center_x"])
    if " and " in text:
        parts = text.replace(" and ", ", ").split(", ")
        return [index for part in parts for index in meaning(part, objects)]
    return plain(text, objects)


def asked(data, kind):
    """`(sample, conversation, expression)` of every conversation of a kind; the kind must occur."""
    found = [
        (sample, conversation, strip_request(conversation.turns[0][0]))
        for sample in data
        for conversation in sample.conversations
        if conversation.kind == kind
    ]
    assert len(found) >= 20, f"only {len(found)} conversations of kind {kind}"
    return found


PICTURE_KINDS = ["attribute", "relation", "superlative", "negation", "look_alike", "multiple", "no_target"]


@pytest.mark.parametrize("kind", PICTURE_KINDS)
def test_picture_expressions_mean_their_targets_and_nothing_else(kind):
    """Guards ambiguous or false expressions, which no model could answer and no loss would reveal."""
    for sample, conversation, text in asked(RefShapes("train", "full", length=40, kinds={kind: 1.0}), kind):
        found = meaning(text, sample.scene["objects"])
        assert found == list(conversation.targets), f"{sample.name}: {text!r}"
        if kind == "negation":
            phrase = text.split(" that is not ")[0]
            assert len(plain(phrase, sample.scene["objects"])) > 1, "nothing had to be excluded"
        elif kind == "multiple":
            assert len(found) >= 2
        elif kind != "no_target":
            assert len(found) == 1


@pytest.mark.parametrize("kind", ["attribute", "motion", "late", "occlusion", "multiple", "no_target"])
def test_video_expressions_mean_their_targets_and_nothing_else(kind):
    """Guards motion words that fit two objects and targets that only appear later."""
    data = RefShapes("train", "full", length=24, kinds={kind: 1.0}, video_fraction=1.0, size=64)
    for sample, conversation, text in asked(data, kind):
        objects = sample.scene["objects"]
        assert meaning(text, objects) == list(conversation.targets), f"{sample.name}: {text!r}"
        late = [objects[target]["first_frame"] > 0 for target in conversation.targets]
        assert all(late) if kind == "late" else not any(late)
        if kind == "motion":
            phrase = text.split(" moving")[0]
            assert len(plain(phrase, objects)) >= 2, "the motion must be needed"


def test_no_target_is_refused_in_its_own_words():
    """Guards an answer that denies something else than was asked for."""
    for _, conversation, text in asked(RefShapes("train", length=30, kinds={"no_target": 1.0}), "no_target"):
        assert conversation.turns[0][1] == f"There is no {text.removeprefix('the ')}."


def test_answers_in_words_are_true():
    """Guards wrong counts, colours and yes/no, and an existence question that is always answered the same way."""
    kinds = {"qa_color": 1.0, "qa_count": 1.0, "qa_exist": 1.0, "region": 1.0}
    numbers = ("zero", "one", "two", "three", "four", "five", "six")
    yes = []
    for sample in RefShapes("train", "full", length=80, kinds=kinds):
        objects = sample.scene["objects"]
        for conversation in sample.conversations:
            ((user, answer),) = conversation.turns
            if conversation.kind == "qa_color":
                (index,) = plain(user.removeprefix("What color is ").rstrip("?"), objects)
                assert answer == objects[index]["color"]
            elif conversation.kind == "qa_count":
                noun = user.removeprefix("How many ").removesuffix(" are there?")
                assert answer == numbers[len(plain(noun, objects))]
            elif conversation.kind == "qa_exist":
                assert answer == ("yes" if plain(user.removeprefix("Is there ").rstrip("?"), objects) else "no")
                yes.append(answer == "yes")
            else:
                shown = {int(value) for value in sample.scene["instance_map"][0][conversation.regions[0]]}
                (label,) = shown
                assert fits(answer, objects[label - 1])
    assert 0.3 < sum(yes) / len(yes) < 0.7


def test_a_check_is_true_of_the_outlined_object_as_often_as_not():
    """Guards a "yes" about a neighbour, a "no" about what is outlined, and an answer that can be guessed."""
    answers, absent = [], 0
    for sample in RefShapes("train", "full", length=150, conversations=2, kinds={"verify": 1.0}, size=64):
        objects = sample.scene["objects"]
        for conversation in sample.conversations:
            ((user, answer),) = conversation.turns
            (label,) = {int(value) for value in sample.scene["instance_map"][0][conversation.regions[0]]}
            meant = plain(user.removeprefix("Is region 1 ").rstrip("?"), objects)
            assert len(meant) <= 1, f"{sample.name}: {user!r}"
            assert answer == ("yes" if meant == [label - 1] else "no"), f"{sample.name}: {user!r}"
            assert not len(conversation.masks)
            answers.append(answer == "yes")
            absent += not meant
    assert 0.42 < sum(answers) / len(answers) < 0.58
    assert absent > 0.15 * len(answers)


def test_caption_lists_all_objects_from_left_to_right():
    """Guards captions that drop an object or pair phrases with the wrong masks."""
    for sample in RefShapes("train", "full", length=20, conversations=1, kinds={"caption": 1.0}):
        (conversation,) = sample.conversations
        objects = sample.scene["objects"]
        assert sorted(conversation.targets) == list(range(len(objects)))
        lefts = [objects[target]["center_x"] for target in conversation.targets]
        assert lefts == sorted(lefts)
        phrases = [part.split("</p>")[0].strip() for part in conversation.turns[0][1].split("<p>")[1:]]
        assert phrases == [f"a {label}" for label in conversation.labels]


def test_list_answers_repeat_the_words_of_the_request():
    """Guards a phrase before [SEG] that belongs to another object of the list."""
    checked = 0
    for _, conversation, text in asked(RefShapes("train", length=40, kinds={"multiple": 1.0}), "multiple"):
        phrases = [part.split("</p>")[0].strip() for part in conversation.turns[0][1].split("<p>")[1:]]
        if text.startswith("all "):
            assert phrases == [f"the {label}" for label in conversation.labels]
        else:
            assert phrases == text.replace(" and ", ", ").split(", ")
            checked += 1
    assert checked


def test_a_look_alike_shares_two_of_three_and_the_request_needs_the_third():
    """Guards an easy set: without the word for what differs the request must fit the look-alike as well."""
    for sample, conversation, text in asked(
        RefShapes("train", "full", length=40, kinds={"look_alike": 1.0}), "look_alike"
    ):
        factors = [{item[name] for name in ("size", "color", "shape")} for item in sample.scene["objects"]]
        (target,) = conversation.targets
        doubles = [index for index, other in enumerate(factors) if len(other & factors[target]) == 2]
        assert doubles
        for double in doubles:
            (third,) = factors[target] - factors[double]
            assert third in text.split()
            words = ["object" if word == third and third in SHAPES else word for word in text.split()]
            without = " ".join(word for word in words if word != third)
            assert {target, double} <= set(plain(without, sample.scene["objects"]))


def test_places_are_thirds_of_the_picture():
    """Guards rows taken for columns, and objects so near to a cut that their place is a matter of taste."""
    names = [["up left", "up", "up right"], ["left", "no", "right"], ["down left", "down", "down right"]]
    given = set()
    for sample in RefShapes("train", "full", length=60, kinds={"qa_where": 1.0}, size=96):
        for conversation in sample.conversations:
            if conversation.kind != "qa_where":
                continue
            question, answer = conversation.turns[0]
            phrase = re.fullmatch(r"Is (the .*) left, right, up, down\?", question)[1]
            (index,) = plain(phrase, sample.scene["objects"])
            item = sample.scene["objects"][index]
            row, column = int(item["center_y"] // 32), int(item["center_x"] // 32)
            assert answer == names[row][column]
            assert all(abs(item[axis] - cut) >= 3 for axis in ("center_x", "center_y") for cut in (32, 64))
            assert not conversation.labels
            given.add(answer)
    assert given == {name for row in names for name in row}


def test_a_plain_caption_is_the_grounded_one_without_its_marks():
    """Guards a language model that is to talk about pictures and must not meet a [SEG]."""
    plain_ones, grounded = (
        RefShapes("train", "full", length=20, conversations=1, kinds={kind: 1.0})
        for kind in ("caption_plain", "caption")
    )
    for one, other in zip(plain_ones, grounded, strict=True):
        ((request, answer),) = one.conversations[0].turns
        assert request == "Describe the image."
        assert answer == other.conversations[0].turns[0][1].replace("<p> ", "").replace(" </p> [SEG]", "")
        assert not len(one.conversations[0].masks)


def test_labels_are_what_was_said_where_that_is_asked_for():
    """Guards the text branch: it then reads "circle left of the red square", and of a list each target's own part."""
    kinds = {"attribute": 1.0, "relation": 1.0, "multiple": 1.0, "caption": 1.0}
    canonical, said = (
        RefShapes("train", "full", length=30, kinds=kinds, labels=labels) for labels in ("canonical", "expression")
    )
    for one, other in zip(canonical, said, strict=True):
        assert np.array_equal(one.frames, other.frames)
        for usual, conversation in zip(one.conversations, other.conversations, strict=True):
            assert usual.turns == conversation.turns
            for label, target in zip(conversation.labels, conversation.targets, strict=True):
                assert label in " ".join(conversation.turns[0])
                assert meaning(f"the {label}", one.scene["objects"]) == [target] or conversation.kind in (
                    "multiple",
                    "caption",
                )
            if conversation.kind in ("attribute", "relation"):
                assert conversation.labels == (strip_request(conversation.turns[0][0]).removeprefix("the "),)
            if conversation.kind == "caption":
                assert conversation.labels == usual.labels
