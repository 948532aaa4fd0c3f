"""Sets, examples, dialogues and clips that are described: every sentence is checked against the scene by a second
reading of it that shares no code with the generator."""

import numpy as np
import pytest

from desa2va.training.data.refshapes.dataset import RefShapes

SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
COLORS = ("red", "green", "blue", "yellow", "purple", "orange", "white", "cyan")
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six")
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")
PREFIXES = ("Please segment ", "segment ", "Where is ", "Where are ", "Find ", "Can you segment ")


def members(phrase, objects):
    """Objects that every word of a singular or plural phrase fits, from left to right."""
    words = [word for word in phrase.split() if word not in ("object", "objects")]
    singular = {f"{shape}{ending}": shape for shape in SHAPES for ending in ("", "s", "es")}
    words = [singular.get(word, word) for word in words]
    assert all(word in (*SHAPES, *COLORS, "small", "large") for word in words), phrase
    fitting = [
        i for i, item in enumerate(objects) if all(w in (item["shape"], item["color"], item["size"]) for w in words)
    ]
    return sorted(fitting, key=lambda index: objects[index]["center_x"])


def set_phrase(request):
    for prefix in PREFIXES:
        request = request.removeprefix(prefix)
    request = request.rstrip(".?")
    word, phrase = request.split(" ", 1)
    assert word in ("all", "every"), request
    return phrase


def check_set_answer(answer, objects, expected):
    """The number, the words and the [SEG] of an answer."""
    assert answer.startswith("Sure, <p> ")
    said, marks = answer.removeprefix("Sure, <p> ").removesuffix(".").split(" </p> ")
    number, phrase = said.split(" ", 1)
    assert NUMBERS.index(number) == len(expected) == len(marks.split())
    assert set(marks.split()) == {"[SEG]"}
    assert phrase.endswith("s") == (len(expected) > 1 or phrase.endswith("cross"))
    assert members(phrase, objects) == expected


def conversations(kind, count, **options):
    data = RefShapes("train", "full", length=count, conversations=2, kinds={kind: 1.0}, size=96, **options)
    found = [
        (sample, conversation) for sample in data for conversation in sample.conversations if conversation.kind == kind
    ]
    assert len(found) >= count
    return found


@pytest.mark.parametrize("video_fraction", [0.0, 1.0])
def test_a_set_is_every_instance_and_no_other(video_fraction):
    """Guards members that are left out, and sets whose number never varies."""
    numbers = []
    for sample, conversation in conversations("set", 120 - int(80 * video_fraction), video_fraction=video_fraction):
        ((request, answer),) = conversation.turns
        objects = sample.scene["objects"]
        expected = members(set_phrase(request), objects)
        assert list(conversation.targets) == expected, f"{sample.name}: {request!r}"
        for mask, target in zip(conversation.masks, expected, strict=True):
            assert np.array_equal(mask, sample.scene["instance_map"] == target + 1)
        if expected:
            check_set_answer(answer, objects, expected)
        else:
            assert answer.startswith("There is no ")
            assert members(answer.removeprefix("There is no ").rstrip("."), objects) == []
        numbers.append(len(expected))
    assert set(range(4 if video_fraction else 5)) <= set(numbers)
    assert 0.03 < numbers.count(0) / len(numbers) < 0.35


def test_an_example_stands_for_all_of_its_colour_and_shape():
    """Guards a set without the marked object, and one that holds what only half resembles it."""
    numbers = set()
    for sample, conversation in conversations("example", 60):
        ((request, answer),) = conversation.turns
        assert request in ("Please segment all objects like region 1.", "Find every object like region 1.")
        objects = sample.scene["objects"]
        (shown,) = {int(value) - 1 for value in sample.scene["instance_map"][0][conversation.regions[0]]}
        like = f"{objects[shown]['color']} {objects[shown]['shape']}"
        expected = members(like, objects)
        assert shown in expected
        assert list(conversation.targets) == expected
        check_set_answer(answer, objects, expected)
        numbers.add(len(expected))
    assert {1, 2} <= numbers


def test_later_turns_are_about_what_was_marked_before():
    """Guards an order that is not the masks', "the other one" of three, and colours that the words had said before."""
    seen = set()
    for sample, conversation in conversations("turns", 90):
        objects, targets = sample.scene["objects"], list(conversation.targets)
        (request, answer), *later = conversation.turns
        phrase = request.removeprefix("Please segment ").rstrip(".")
        assert later
        if phrase.startswith("all "):
            marked = members(phrase.removeprefix("all "), objects)
            check_set_answer(answer, objects, marked)
            places = [objects[index]["center_x"] for index in marked]
            assert np.diff(places).min() >= 6 - 1e-9
        else:
            marked = members(phrase.removeprefix("the "), objects)
            assert len(marked) == 1
        assert targets[: len(marked)] == marked
        targets, current = targets[len(marked) :], marked[0]
        for question, reply in later:
            if question == "What color is it?":
                assert reply == objects[current]["color"]
                assert not set(COLORS) & set(
                    " ".join(text for turn in conversation.turns[:-1] for text in turn).split()
                )
                seen.add("color")
                continue
            assert reply == "Sure, it is [SEG]."
            if question == "Not that one, the other one.":
                assert len(marked) == 2
                expected = next(index for index in marked if index != current)
                seen.add("other")
            else:
                word = question.removeprefix("Please segment the ").removesuffix(" one.")
                expected = marked[ORDINALS.index(word)]
                seen.add("ordinal")
            current = targets.pop(0)
            assert current == expected
        assert not targets
    assert seen == {"color", "other", "ordinal"}


def said_of_one(question, objects):
    """The answer in words to a question that needs no turn before it, by a reading of its own."""
    words = question.rstrip("?").split()
    if question.startswith("What color is the "):
        (found,) = members(" ".join(words[4:]), objects)
        return objects[found]["color"]
    if question.startswith("How many "):
        return NUMBERS[len(members(words[2], objects))]
    if question.startswith("Is there "):
        return "yes" if members(" ".join(words[3:]), objects) else "no"
    return None


def test_a_mixed_dialogue_asks_one_thing_after_the_other():
    """Guards answers that belong to another turn, masks out of order, and a last turn that could be guessed from the
    one before: a question after an answer that was a colour asks for anything, not for a colour alone."""
    after_color, lengths, refused = set(), set(), False
    for sample, conversation in conversations("mixed_turns", 150):
        objects, targets = sample.scene["objects"], list(conversation.targets)
        turns = conversation.turns
        assert len({question for question, _ in turns}) == len(turns) or len(objects) == 2
        lengths.add(len(turns))
        last: list[int] = []
        for before, (question, answer) in zip((("", ""), *turns), turns, strict=False):
            marked = [targets.pop(0) for _ in range(answer.count("[SEG]"))]
            if before[1] in COLORS:
                after_color.add(answer.split()[0] in COLORS)
            expected = said_of_one(question, objects)
            if question == "What color is it?":
                assert answer == objects[last[0]]["color"]
                assert not set(before[0].rstrip(".?").split()) & set(COLORS)
            elif expected is not None:
                assert answer == expected
            elif answer.startswith("There is no "):
                assert not members(answer.removeprefix("There is no ").rstrip("."), objects)
                refused = True
            elif "<p>" in answer:
                check_set_answer(answer, objects, marked)
            elif marked:
                assert answer == "Sure, it is [SEG]."
                phrase = question.rstrip(".?").split("the ")[1]
                if not any(word.endswith("est") or word.endswith("most") for word in phrase.split()):
                    assert members(phrase, objects) == marked
            last = marked
        assert not targets
    assert after_color == {True, False}
    assert lengths == {2, 3, 4}
    assert refused


MOTIONS = {"to the left": "left", "to the right": "right", "up": "up", "down": "down"}


@pytest.mark.parametrize("kind", ["video_caption", "video_caption_plain"])
def test_a_clip_is_described_with_its_motions(kind):
    """Guards captions of clips that leave out an object, or say that it moves the other way."""
    for sample, conversation in conversations(kind, 10, video_fraction=1.0):
        ((request, answer),) = conversation.turns
        objects = sample.scene["objects"]
        assert request == ("Describe the video with masks." if kind == "video_caption" else "Describe the video.")
        spoken = answer.replace("<p> ", "").replace(" </p> [SEG]", "").removesuffix(".").split(", ")
        order = sorted(range(len(objects)), key=lambda index: objects[index]["center_x"])
        for words, index in zip(spoken, order, strict=True):
            label, motion = words.removeprefix("a ").split(" moving ")
            item = objects[index]
            assert label == f"{item['size']} {item['color']} {item['shape']}"
            assert MOTIONS[motion] == item["motion"]
        assert list(conversation.targets) == (order if kind == "video_caption" else [])
        assert answer.count("[SEG]") == len(conversation.masks)


def test_a_region_of_a_clip_is_marked_on_its_first_frame():
    for sample, conversation in conversations("video_region", 10, video_fraction=1.0):
        ((request, answer),) = conversation.turns
        (shown,) = {int(value) - 1 for value in sample.scene["instance_map"][0][conversation.regions[0]]}
        item = sample.scene["objects"][shown]
        assert (request, answer) == ("What is region 1?", f"a {item['size']} {item['color']} {item['shape']}")


def test_labels_of_a_set_are_its_members():
    """Guards labels for the text branch that are fewer than the masks, since one phrase stands for several."""
    for labels in ("canonical", "expression"):
        for sample, conversation in conversations("turns", 10, labels=labels):
            assert len(conversation.labels) == len(conversation.masks) == len(conversation.targets)
            assert not any(word in label for label in conversation.labels for word in ("Please", "?", "."))
            if labels == "canonical":
                objects = sample.scene["objects"]
                for label, target in zip(conversation.labels, conversation.targets, strict=True):
                    assert label.split() == [objects[target][name] for name in ("size", "color", "shape")]


def test_what_is_kept_back_is_kept_out_of_every_turn():
    """Guards a word that only an earlier turn says."""
    data = RefShapes("train", "full", length=40, kinds={"turns": 1.0, "set": 1.0}, unasked=["red", "circle"], size=64)
    for sample in data:
        for conversation in sample.conversations:
            said = " ".join(text for turn in conversation.turns for text in turn)
            assert not {"red", "circle", "circles"} & set(said.replace(".", "").replace("?", "").split())
