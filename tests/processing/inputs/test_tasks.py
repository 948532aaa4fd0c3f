import pytest

from desa2va.processing.inputs import apply_task, asked_phrase, check_tasks, task_of_each


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the red circle", "Please segment the red circle."),
        ("The red circle.", "Please segment the red circle."),
        ("Tom's hat", "Please segment Tom's hat."),
        ("Segment the red circle.", "Segment the red circle."),
        ("Please find the dog", "Please find the dog"),
        ("Can you mark the dog", "Can you mark the dog"),
        ("all like this one", "Please segment all like this one."),
        ("the dog?", "the dog?"),
        ("红色的圆", "红色的圆"),
    ],
)
def test_segment_wraps_bare_phrases_only(text, expected):
    """A request wrapped twice ("Please segment please segment ...") is unlike anything in training."""
    assert apply_task(text, "segment", "") == expected


def test_other_tasks_leave_the_text_or_append_the_instruction():
    for task in ("auto", "chat", "caption", "region"):
        assert apply_task("the dog", task, "x") == "the dog"
    assert apply_task("What is it?", "gcg", "Use masks.") == "What is it? Use masks."


def test_a_task_is_one_word_or_a_list():
    assert check_tasks("chat") == ["chat"]
    assert check_tasks(("chat", "gcg")) == ["chat", "gcg"]
    with pytest.raises(ValueError, match="task=None is unknown"):
        check_tasks(None)


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("Please segment the red car.", "the red car"),
        ("the red car", "the red car"),
        ("Can you segment the red car?", "the red car"),
        ("Where are all circles?", "all circles"),
        ("show me the dog that finds a bone", "the dog that finds a bone"),
        ("Find", "Find"),
        ("finders keepers", "finders keepers"),
    ],
)
def test_what_was_asked_for(text, phrase):
    """A whole request in place of a phrase makes no question."""
    assert asked_phrase(text) == phrase


def test_who_asks_for_a_description_names_no_object():
    """Guards objects called "Please describe the image with masks"."""
    assert asked_phrase("What is it?", "gcg") == ""


def test_each_request_has_its_task():
    assert task_of_each("chat", 3) == ["chat"] * 3
    assert task_of_each("chat", 0) == []
    assert task_of_each(("chat", "gcg"), 2) == ["chat", "gcg"]
    with pytest.raises(ValueError, match="1 tasks but 2 sequences; give one task for all, or one for each"):
        task_of_each(["chat"], 2, "sequences")
