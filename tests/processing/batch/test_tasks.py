import pytest

from desa2va.processing.batch.tasks import apply_task, check_tasks
from desa2va.processing.batch.user_request import plan_requests


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


def asked(*arguments):
    return [(request.text, request.visual, request.task) for request in plan_requests(*arguments)]


def test_a_task_with_words_of_its_own_needs_no_text():
    """Guards a video that is described as a picture, and marked regions of which the first alone is described."""
    kinds = ["image", "video"]
    assert asked(None, None, kinds, "caption", "") == [
        ("Describe the image.", 0, "caption"),
        ("Describe the video.", 1, "caption"),
    ]
    assert asked(None, None, ["image"], "gcg", "With masks.") == [("With masks.", 0, "gcg")]
    assert asked(None, None, kinds, "region", "", [2, 1]) == [
        ("What is region 1?", 0, "region"),
        ("What is region 2?", 0, "region"),
        ("What is region 1?", 1, "region"),
    ]
    assert asked(None, None, ["image"], ["caption", "gcg"], "M.") == [
        ("Describe the image.", 0, "caption"),
        ("M.", 0, "gcg"),
    ]


def test_every_request_of_a_batch_may_have_a_task_of_its_own():
    texts, tasks = ["the dog", "the dog", "Look."], ["segment", "chat", "gcg"]
    assert asked(texts, None, ["image"], tasks, "M.") == [
        ("Please segment the dog.", 0, "segment"),
        ("the dog", 0, "chat"),
        ("Look. M.", 0, "gcg"),
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["a", "b"], None, ["image"], ["chat"], ""), "1 tasks but 2 requests"),
        (("a", None, ["image"], ["chat", "paint"], ""), "task='paint' is unknown; choose one of auto, segment, chat"),
        (("a", None, ["image"], [], ""), "task is an empty list"),
        (("a", None, [], "caption", ""), "task='caption' describes what is in a picture or video, but none is given"),
        ((None, None, ["image"], "region", "", [0]), "task='region' is about what points=, boxes= or masks= mark"),
        (("What?", None, ["image"], "region", "", [0]), r"text\[0\]: task='region' is about what points="),
        ((None, None, ["image"], ["caption", "chat"], ""), "nothing is asked with task='chat'"),
    ],
)
def test_tasks_that_can_not_be_are_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        plan_requests(*arguments)


def test_a_task_is_one_word_or_a_list():
    assert check_tasks("chat") == ["chat"]
    assert check_tasks(("chat", "gcg")) == ["chat", "gcg"]
    with pytest.raises(ValueError, match="task=None is unknown"):
        check_tasks(None)
