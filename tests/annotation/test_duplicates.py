"""Expressions that are alike, counted by hand."""

import pytest

from desa2va.annotation.duplicates import are_near, duplicates, words_of


def row(video, number, text):
    return {"video": video, "object": number, "long": text, "short": None}


def test_words():
    assert words_of("The man's blue-green hat, 2 m.") == ["the", "man's", "blue-green", "hat", "2", "m"]


@pytest.mark.parametrize(
    ("one", "other", "near"),
    [
        ("A red car, parked.", "parked: a RED car", True),  # another order
        ("the red car moves left", "the red car moves", True),  # 4 of 5
        ("the red car moves left", "the red car moves right", False),  # 4 of 6
        ("a b c d e f g h i", "a b c d e f g h j", True),  # 8 of 10
        ("a b c d e f g h", "a b c d e f g k", False),  # 7 of 9
        ("a a a a a b", "a b", True),  # repetition is no difference
    ],
)
def test_four_fifths_of_all_words(one, other, near):
    """The bound itself belongs to near ones; what is one word of few apart does not."""
    assert are_near(one, other) is are_near(other, one) is near


def test_every_expression_is_counted_once():
    """Guards against counting a whole group for the one video that has two of it: "a cup" is three, two in a video."""
    rows = [row("a", "1", "A cup."), row("a", "2", "a cup"), row("b", "1", "a cup"), row("b", "2", "Some cup.")]
    rows += [row("b", "3", "a tall white cup, full"), row("b", "4", "a tall white cup"), row("c", "1", "Cup, a.")]
    found = duplicates(rows, "long")
    assert (found["within_a_video"], found["across_videos"], found["near_within_a_video"]) == (2, 3, 4)
    assert found["examples"] == [
        {"texts": ["A cup.", "a cup", "a cup"], "objects": [["a", "1"], ["a", "2"], ["b", "1"]]}
    ]
    assert [entry["objects"] for entry in found["near_examples"]] == [[["b", "3"], ["b", "4"]]]
    assert duplicates(rows, "short")["within_a_video"] == duplicates([], "long")["near_within_a_video"] == 0
