import numpy as np
import pytest
import torch
from PIL import Image

from desa2va.processing.batch.user_request import apply_task, open_visuals, plan_requests


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the red circle", "Please segment the red circle."),
        ("The red circle.", "Please segment the red circle."),
        ("Tom's hat", "Please segment Tom's hat."),
        ("Segment the red circle.", "Segment the red circle."),
        ("Please find the dog", "Please find the dog"),
        ("Can you mark the dog", "Can you mark the dog"),
        ("the dog?", "the dog?"),
        ("红色的圆", "红色的圆"),
    ],
)
def test_segment_wraps_bare_phrases_only(text, expected):
    """A request wrapped twice ("Please segment please segment ...") is unlike anything in training."""
    assert apply_task(text, "segment", "") == expected


def test_other_tasks_leave_the_text_or_append_the_instruction():
    assert apply_task("the dog", "auto", "x") == apply_task("the dog", "chat", "x") == "the dog"
    assert apply_task("What is it?", "gcg", "Use masks.") == "What is it? Use masks."


def test_texts_pair_with_visuals():
    def pairs(*arguments):
        return [(request.messages[-1][1], request.visual) for request in plan_requests(*arguments)]

    assert pairs("a", None, 0, "auto", "") == [("a", -1)]
    assert pairs("a", None, 2, "auto", "") == [("a", 0), ("a", 1)]
    assert pairs(["a", "b"], None, 1, "auto", "") == [("a", 0), ("b", 0)]
    assert pairs(["a", "b"], None, 2, "auto", "") == [("a", 0), ("b", 1)]
    assert pairs(None, None, 1, "gcg", "describe") == [("describe", 0)]


def test_new_text_follows_its_history():
    history = [("user", "a"), ("assistant", "b")]
    requests = plan_requests(["c", "d"], [history], 1, "auto", "")
    assert [request.messages for request in requests] == [[*history, ("user", "c")], [*history, ("user", "d")]]
    assert len(history) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a", None, 1, "paint", ""), "task='paint'"),
        ((None, None, 1, "auto", ""), "nothing is asked"),
        (([], None, 1, "auto", ""), "empty list"),
        (("  ", None, 1, "auto", ""), r"text\[0\]: the text of the user is empty"),
        ((["a", ""], None, 2, "segment", ""), r"text\[1\]: .*empty"),
        ((["a", "b", "c"], None, 2, "auto", ""), "2 visuals but 3 texts"),
        ((["a"], None, 2, "auto", ""), "2 visuals but 1 texts"),
        ((["a", "b"], [[("user", "x"), ("assistant", "y")]] * 3, 1, "auto", ""), "3 message histories but 2 texts"),
        ((None, [[("user", "x"), ("assistant", "y")]], 1, "auto", ""), "must alternate"),
        (("z", [[("user", "x")]], 1, "auto", ""), "must alternate"),
    ],
)
def test_requests_that_do_not_fit_are_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        plan_requests(*arguments)


def test_text_of_another_type_is_a_type_error():
    with pytest.raises(TypeError, match=r"text\[1\] must be a string, got int"):
        plan_requests(["a", 5], None, 2, "auto", "")


def test_pictures_and_videos_of_every_form(tmp_path, picture):
    path = tmp_path / "a.png"
    Image.fromarray(picture).save(path)
    stack = np.stack([picture, picture])

    def kinds(images, videos):
        return [(kind, len(source)) for kind, source in open_visuals(images, videos, [])]

    assert kinds(picture, None) == kinds(str(path), None) == kinds(Image.fromarray(picture), None) == [("image", 1)]
    assert kinds([path, picture], None) == kinds(stack, None) == [("image", 1)] * 2
    assert kinds(None, stack) == kinds(None, [picture, picture]) == kinds(None, [path, path]) == [("video", 2)]
    assert kinds(None, [stack, [picture]]) == kinds(None, [stack, picture[None]]) == [("video", 2), ("video", 1)]
    assert kinds(None, torch.zeros(2, 3, 3, 8, 8)) == [("video", 3)] * 2
    assert kinds(None, tmp_path) == [("video", 1)]
    assert kinds(picture, stack) == [("image", 1), ("video", 2)]


def test_unusable_visuals_are_named(picture):
    with pytest.raises(ValueError, match=r"images\[1\]"):
        open_visuals([picture, np.zeros((0, 3, 3), np.uint8)], None, [])
    with pytest.raises(ValueError, match=r"images\[0\] is a list"):
        open_visuals([[picture, picture]], None, [])
    with pytest.raises(ValueError, match="images is an empty list"):
        open_visuals([], None, [])
    with pytest.raises(ValueError, match="videos is an empty list"):
        open_visuals(None, [], [])
    with pytest.raises(ValueError, match="both inside messages"):
        open_visuals(picture, None, [("image", picture)])
