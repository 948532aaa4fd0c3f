"""Reading options out of answers: the rules' corners, each as the harness it comes from decides it."""

import pytest

from desa2va.eval.metrics.answers import first_letter, infer_choice, read_yes_no

OPTIONS = {"A": "a red car", "B": "Blue boat", "C": "tree", "D": "a tree house"}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("B", "B"),
        ("(B).", "B"),
        ("The answer is B.", "B"),
        ("A or B", None),
        ("A blue boat", "A"),  # the article is taken for the option
        ("it is the BLUE BOAT", "B"),
        ("a tree house", None),  # holds the texts of C and D
        ("a tree", "C"),
        ("Option-B", None),  # the hyphen is no mark that becomes a blank
        ("b", None),
        ("Z", "Z"),
        ("I'm sorry, but without the image provided I cannot choose B", "Z"),
        ("Failed to obtain answer via API B", None),
        ("", None),
    ],
)
def test_infer_choice(answer, expected):
    assert infer_choice(answer, OPTIONS) == expected


@pytest.mark.parametrize(
    ("answer", "official", "vlmevalkit"),
    [
        ("C", "C", "C"),
        ("The best answer is C", "C", "C"),
        ("Answer: C", "A", "C"),  # the official script reads the A of "Answer"
        ("Best answer: C", "B", "B"),  # a comma is missing in both lists
        ("Option: D", "D", "D"),
        ("because of the dog", None, None),
        ("I think that Bob did it", "B", "B"),
    ],
)
def test_first_letter(answer, official, vlmevalkit):
    assert (first_letter(answer), first_letter(answer, "vlmevalkit")) == (official, vlmevalkit)


@pytest.mark.parametrize(
    ("answer", "official", "vlmevalkit"),
    [
        ("Yes", True, True),
        ("no.", False, False),
        ("I say yes", None, True),
        ("yes and no", True, None),
        ("Nothing of it", False, None),
        ("yes,no", True, None),  # without blanks around it the comma becomes one
        ("yes,no , really", True, None),  # with one, it is deleted: one word "yesno"
        ("not yes", False, True),
        ("maybe", None, None),
    ],
)
def test_yes_and_no(answer, official, vlmevalkit):
    assert (read_yes_no(answer), read_yes_no(answer, "vlmevalkit")) == (official, vlmevalkit)
