"""What one split is kept from and another is tested on: combinations never shown, words never said."""

import re
from collections import Counter

import numpy as np
import pytest

from desa2va.training.data.refshapes.dataset import RefShapes
from desa2va.training.data.refshapes.kinds import ALL_PICTURE_KINDS, SEGMENT_KINDS
from desa2va.training.data.refshapes.restrictions import LABELS

HELD_OUT = ["small red circle", "large cyan star", "small blue square", "large green ring"]
UNASKED = ["cyan", "star"]
UNASKED_SAID = re.compile(r"\b(cyan|stars?)\b")
EVERYTHING = dict.fromkeys(ALL_PICTURE_KINDS, 1.0)
SEGMENT = {kind: 1.0 for kind in SEGMENT_KINDS if kind not in ("no_target", "multiple", "set")}
SMALL = {"size": 48, "level": "full"}


def labels_of(sample):
    return {f"{item['size']} {item['color']} {item['shape']}" for item in sample.scene["objects"]}


def texts_of(sample):
    return " ".join(text for conversation in sample.conversations for turn in conversation.turns for text in turn)


@pytest.mark.parametrize("videos", [False, True])
def test_held_out_combinations_are_neither_shown_nor_named(videos):
    """Guards the generalisation test: one training picture of a held-out combination, or one "There is no small red
    circle.", and the model has met it."""
    kinds = {"attribute": 1.0, "late": 1.0, "multiple": 1.0, "no_target": 1.0} if videos else EVERYTHING
    options = {**SMALL, "length": 60 if videos else 200, "kinds": kinds, "video_fraction": float(videos)}
    free = [*RefShapes("train", num_frames=2, **options)]
    kept = [*RefShapes("train", num_frames=2, held_out=HELD_OUT, **options)]
    assert any(labels_of(sample) & set(HELD_OUT) for sample in free)
    for sample in kept:
        assert not labels_of(sample) & set(HELD_OUT)
        assert not any(label in texts_of(sample) for label in HELD_OUT)
    counts = Counter(len(sample.scene["objects"]) for sample in kept)
    assert set(counts) == ({2, 3, 4} if videos else {2, 3, 4, 5, 6})  # objects are drawn again, pictures not dropped


def test_targets_held_out_asks_for_nothing_else():
    data = RefShapes(
        "test", length=30, held_out=HELD_OUT, targets_held_out=True, conversations=1, kinds=SEGMENT, **SMALL
    )
    seen = Counter(label for sample in data for label in sample.conversations[0].labels)
    assert set(seen) == set(HELD_OUT)
    assert sum(seen.values()) == 30


def test_unasked_words_are_never_said_but_shown():
    """Guards the transfer test: a label or an answer with such a word would teach it."""
    samples = [*RefShapes("train", length=200, unasked=UNASKED, kinds=EVERYTHING, **SMALL)]
    assert any({"cyan", "star"} & set(" ".join(labels_of(sample)).split()) for sample in samples)
    for sample in samples:
        assert not UNASKED_SAID.search(texts_of(sample))
        assert not UNASKED_SAID.search(" ".join(label for c in sample.conversations for label in c.labels))
    assert {conversation.kind for sample in samples for conversation in sample.conversations} == set(ALL_PICTURE_KINDS)


def test_an_unasked_object_is_no_reference_either():
    """ "The circle left of the square" says no word that is kept back, but reads a cyan square."""
    data = RefShapes("train", length=60, unasked=["cyan"], conversations=1, kinds={"relation": 1.0}, **SMALL)
    for sample in data:
        words = re.search(r"(?:left of|right of|above|below) the ([a-z ]+)", sample.conversations[0].turns[0][0])[1]
        anchors = [
            item for item in sample.scene["objects"] if all(w in (item["color"], item["shape"]) for w in words.split())
        ]
        assert [item["color"] for item in anchors if item["color"] != "cyan"] == [item["color"] for item in anchors]


def test_targets_unasked_are_named_by_such_a_word():
    """The word must name the target, not the reference and not what is excluded."""
    data = RefShapes("test", length=80, unasked=UNASKED, targets_unasked=True, conversations=1, kinds=SEGMENT, **SMALL)
    said = Counter()
    for sample in data:
        (conversation,) = sample.conversations
        head = re.split(r" (?:left of|right of|above|below|that) ", conversation.turns[0][0])[0]
        words = set(UNASKED_SAID.findall(head))
        assert words & set(conversation.labels[0].split())
        said.update(words)
    assert set(said) == set(UNASKED)


@pytest.mark.parametrize("restriction", [{"held_out": HELD_OUT}, {"unasked": UNASKED}, {"pool": 3}])
def test_restricted_samples_do_not_depend_on_what_was_read_before(restriction):
    one, two = (RefShapes("train", length=6, **SMALL, **restriction) for _ in range(2))
    backwards = {index: two[index] for index in reversed(range(6))}
    for index in range(6):
        assert np.array_equal(one[index].frames, backwards[index].frames)
        assert texts_of(one[index]) == texts_of(backwards[index])


def test_a_pool_repeats_its_samples_in_a_new_order():
    """Guards "5 % of the data": other expressions about the same pictures would be more than 5 %."""
    data = RefShapes("train", length=24, pool=8, **SMALL)
    free = {sample.name: texts_of(sample) for sample in RefShapes("train", length=8, **SMALL)}
    samples = [*data]
    passes = [[sample.name for sample in samples[start : start + 8]] for start in (0, 8, 16)]
    assert all(set(names) == set(free) for names in passes)
    assert len({tuple(names) for names in passes}) == 3
    assert all(texts_of(sample) == free[sample.name] for sample in samples)
    data.set_epoch(1)
    assert {data[index].name for index in range(8)} == set(free)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"held_out": ["red circle"]}, "held_out 'red circle' is no size, colour and shape"),
        ({"held_out": LABELS}, "held_out leaves no combination"),
        ({"unasked": ["small"]}, "unasked 'small' is unknown"),
        ({"unasked": ["circle", "square", "triangle", "star", "cross", "ring"]}, "unasked leaves no shape"),
        ({"targets_held_out": True}, "targets_held_out needs held_out"),
        ({"targets_unasked": True}, "targets_unasked needs unasked"),
        ({"labels": "short"}, "labels 'short' is unknown"),
        ({"pool": 0}, "pool must be at least 1"),
    ],
)
def test_bad_restrictions_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        RefShapes("train", **arguments)
