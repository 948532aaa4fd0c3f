import numpy as np
import pytest
import torch
from PIL import Image

from desa2va.processing.batch.user_request import open_visuals, plan_requests
from desa2va.processing.inputs import Dialogue, VisualPart

ONE, TWO = ["image"], ["image", "video"]
TURN = Dialogue([("user", "x"), ("assistant", "y")])


def test_texts_pair_with_visuals():
    def pairs(*arguments):
        return [(request.messages[-1][1], request.visual) for request in plan_requests(*arguments)]

    assert pairs("a", None, [], "auto", "") == [("a", -1)]
    assert pairs("a", None, TWO, "auto", "") == [("a", 0), ("a", 1)]
    assert pairs(["a", "b"], None, ONE, "auto", "") == [("a", 0), ("b", 0)]
    assert pairs(["a", "b"], None, TWO, "auto", "") == [("a", 0), ("b", 1)]
    assert pairs(None, None, ONE, "gcg", "describe") == [("describe", 0)]


def test_histories_are_about_the_visual_that_their_messages_hold():
    """A conversation without a picture once got the picture of another one."""

    def owners(places, kinds, text=None):
        dialogues = [
            Dialogue([("user", "a")], VisualPart(kind, None, f"messages[{index}][0]") if kind else None)
            for index, kind in enumerate(places)
        ]
        if text is not None:
            for dialogue in dialogues:
                dialogue.messages.append(("assistant", "b"))
        return [request.visual for request in plan_requests(text, dialogues, kinds, "auto", "")]

    assert owners(["image", None], ONE) == [0, -1]
    assert owners([None, "image", None, "video"], TWO) == [-1, 0, -1, 1]
    assert owners(["image", None, "image"], ONE) == [0, -1, 0]
    assert owners([None, None], ONE) == [0, 0]
    assert owners([None, None], TWO) == [0, 1]
    assert owners([None, None], []) == [-1, -1]
    assert owners(["image"], ONE, ["c", "d"]) == [0, 0]
    assert owners(["image", None], ONE, ["c", "d"]) == [0, -1]
    assert owners([None], TWO, ["c", "d"]) == [0, 1]
    with pytest.raises(ValueError, match="2 visuals but 1 conversations hold or mark the place of one"):
        owners(["image", None, None], TWO)
    with pytest.raises(ValueError, match=r"messages\[0\]\[0\] marks the place of a video, but is given a picture"):
        owners(["video"], ONE)


def test_a_text_without_a_visual_is_no_phrase_to_be_segmented():
    dialogues = [Dialogue([("user", "hello")]), Dialogue([("user", "the dog")], VisualPart("image", None, ""))]
    requests = plan_requests(None, dialogues, ONE, "segment", "")
    assert [request.text for request in requests] == ["hello", "Please segment the dog."]


def test_new_text_follows_its_history():
    history = [("user", "a"), ("assistant", "b")]
    requests = plan_requests(["c", "d"], [Dialogue(history)], ONE, "auto", "")
    assert [request.messages for request in requests] == [[*history, ("user", "c")], [*history, ("user", "d")]]
    assert len(history) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a", None, ONE, "paint", ""), "task='paint'"),
        ((None, None, ONE, "auto", ""), "nothing is asked"),
        (([], None, ONE, "auto", ""), "empty list"),
        (("  ", None, ONE, "auto", ""), r"text\[0\]: the text of the user is empty"),
        ((["a", ""], None, TWO, "segment", ""), r"text\[1\]: .*empty"),
        ((["a", "b", "c"], None, TWO, "auto", ""), "2 visuals but 3 texts"),
        ((["a"], None, TWO, "auto", ""), "2 visuals but 1 texts"),
        (
            (["a", "b"], [TURN] * 3, ONE, "auto", ""),
            "3 message histories but 2 texts",
        ),
        ((None, [TURN], ONE, "auto", ""), "must alternate"),
        (("a", None, [], "segment", ""), "task='segment' marks objects in a picture or video, but none is given"),
        ((None, None, [], "gcg", "x"), "task='gcg' marks objects"),
        (("z", [Dialogue([("user", "x")])], ONE, "auto", ""), "must alternate"),
    ],
)
def test_requests_that_do_not_fit_are_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        plan_requests(*arguments)


def test_text_of_another_type_is_a_type_error():
    with pytest.raises(TypeError, match=r"text\[1\] must be a string, got int"):
        plan_requests(["a", 5], None, TWO, "auto", "")
    with pytest.raises(TypeError, match="text must be a string or a list of strings, got 5"):
        plan_requests(5, None, TWO, "auto", "")


def test_a_task_with_words_of_its_own_follows_a_history():
    """A history that ended with an answer was refused, whatever the task could have asked by itself."""
    history = [("user", "a"), ("assistant", "b")]
    for task, said in (("caption", "Describe the image."), ("gcg", "with masks"), ("region", "What is region 1?")):
        (request,) = plan_requests(None, [Dialogue(history)], ONE, task, "with masks", [1])
        assert request.messages == [*history, ("user", said)]
    with pytest.raises(ValueError, match="2 regions are marked"):
        plan_requests(None, [Dialogue(history)], ONE, "region", "", [2])
    with pytest.raises(ValueError, match="must alternate"):
        plan_requests(None, [Dialogue(history)], ONE, "chat", "")


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
    place = VisualPart("image", None, "messages[1][0]")
    with pytest.raises(ValueError, match=r"messages\[1\]\[0\] marks the place of a picture, but none is given"):
        open_visuals(None, None, [place])
    with pytest.raises(ValueError, match=r"both inside messages .* a place without one \(messages\[1\]\[0\]\)"):
        open_visuals(None, None, [VisualPart("image", picture, "messages[0][0]"), place])
    with pytest.raises(ValueError, match="both inside messages"):
        open_visuals(picture, None, [VisualPart("image", picture, "messages[0][0]")])


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
