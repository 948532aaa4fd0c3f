"""The describer that measures."""

import numpy as np
import pytest

from desa2va.annotation.asks import Ask
from desa2va.annotation.measured import MeasuringDescriber, color_name, movement, place_name

SIDE = 60


def at(row, column, size=10):
    mask = np.zeros((SIDE, SIDE), bool)
    mask[row : row + size, column : column + size] = True
    return mask


@pytest.mark.parametrize(
    ("pixels", "name"),
    [((200, 30, 50), "red"), ((228, 128, 25), "orange"), ((10, 10, 10), "black"), ((120, 130, 125), "gray")],
)
def test_a_color_is_the_nearest(pixels, name):
    assert color_name(np.array([pixels, pixels], np.uint8)) == name


@pytest.mark.parametrize(
    ("row", "column", "name"),
    [(0, 0, "upper left"), (25, 25, "middle"), (25, 48, "middle right"), (48, 25, "lower middle")],
)
def test_a_place_is_a_ninth(row, column, name):
    assert place_name(at(row, column)) == name


@pytest.mark.parametrize(
    ("masks", "words"),
    [
        ([at(20, 10), at(20, 20), at(21, 40)], "moves to the right"),
        ([at(40, 20), at(10, 22)], "moves up"),
        ([at(10, 10), at(30, 35)], "moves down and to the right"),
        ([at(20, 20), at(21, 20)], "stays where it is"),
        ([at(20, 40), at(20, 10), at(20, 50, size=3), at(0, 0, size=0)], "moves to the left"),
    ],
)
def test_a_movement_is_told_by_frames_that_show_the_object(masks, words):
    """The middle of a half hidden object lies elsewhere, and an absent one has none."""
    assert movement(masks) == words


def test_a_contradiction_is_one_of_colors():
    def check(crop, blanked):
        said = {"crop": crop, "blanked": blanked}
        (found,) = MeasuringDescriber().answers([Ask(("v", "1"), "check", "", said=said)])
        return found[0]

    assert check("The object in the middle is red.", "A red object.") == "yes"
    assert check("The object in the middle is red.", "A blue object.") == "no"
    assert check("of of of", "A blue object.") == "yes"
