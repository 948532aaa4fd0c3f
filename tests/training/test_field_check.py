"""Declared types against what YAML says."""

import pytest

from desa2va.training.arguments import DeSa2VATrainingArguments
from desa2va.training.field_check import check_fields, check_value, declared_fields


@pytest.mark.parametrize(
    ("value", "hint", "right"),
    [
        ("1e-4", float, 1e-4),
        ("100", int, 100),
        (1e3, int, 1000),
        (3, float, 3),
        ("yes", str, "yes"),
        (5, str, "5"),
        (None, int | None, None),
        (["a"], list[str] | None, ["a"]),
        ({"a": "2"}, dict[str, float], {"a": 2}),
    ],
)
def test_what_can_only_mean_one_thing_is_taken(value, hint, right):
    assert check_value(value, hint, "x") == right


@pytest.mark.parametrize(
    ("value", "hint", "wanted"),
    [
        ("fast", float, "a number"),
        ("1.5", int, "an integer"),
        (1.5, int, "an integer"),
        (True, float, "a number"),
        (True, int, "an integer"),
        (1, bool, "true or false"),
        ("maybe", bool, "true or false"),
        (None, float, "a number, got nothing"),
        ("mllm.", list[str] | None, "a list or null"),
        ([1.5], list[int], "an integer"),
        ({"a": None}, dict[str, float], "a number"),
    ],
)
def test_everything_else_names_the_place_and_what_is_right(value, hint, wanted):
    """`learning_rate` as text ended in "'<=' not supported", a text for a list of prefixes trained its letters."""
    with pytest.raises(ValueError, match=rf"^section\.field.*must be {wanted}"):
        check_value(value, hint, "section.field")


def test_an_unknown_key_comes_with_the_nearest_known_one():
    with pytest.raises(ValueError, match="training: 'learning_rat' is unknown; did you mean 'learning_rate'"):
        check_fields({"learning_rat": 1}, declared_fields(DeSa2VATrainingArguments), "training")
    with pytest.raises(ValueError, match="known are one, two"):
        check_fields({"zzz": 1}, {"two": int, "one": int}, "here")
