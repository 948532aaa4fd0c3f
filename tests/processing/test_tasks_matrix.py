"""Every task with and without words, marks and visuals: answered, or refused by one sentence."""

from itertools import product

import numpy as np
import pytest

from desa2va.processing.inputs import TASKS

PICTURE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
CLIP = np.stack([PICTURE] * 3)
VISUALS = {
    "picture": {"images": PICTURE},
    "video": {"videos": CLIP},
    "both": {"images": PICTURE, "videos": [CLIP]},
    "none": {},
}
MASK = np.zeros((20, 30), bool)
MASK[3:9, 4:12] = True
MARKS = {"nothing": {}, "points": {"points": [(5, 5)]}, "boxes": {"boxes": [3, 3, 12, 9]}, "masks": {"masks": MASK}}


def outcome(task, worded, marks, visual):
    """What the call is: the words of its error, or `"words"` or `"clicks"` where it is answered."""
    if visual == "none":
        if marks != "nothing":
            return f"{marks}= marks objects in a picture or video, but none is given"
        if task not in ("auto", "chat"):
            return f"task='{task}' .* picture or video, but none is given; add images= or videos="
        return "words" if worded else f"nothing is asked with task='{task}': give text= or messages="
    if task == "region" and marks == "nothing":
        return "task='region' is about what points=, boxes= or masks= mark"
    if worded or task in ("caption", "gcg", "region"):
        return "words"
    if marks == "nothing":
        return f"nothing is asked with task='{task}': give text= or messages=, or points=, boxes= or masks="
    return "task='chat' needs words beside points=" if task == "chat" else "clicks"


@pytest.mark.parametrize("visual", VISUALS)
@pytest.mark.parametrize("task", TASKS)
def test_every_call_is_answered_or_refused_by_one_sentence(tiny, task, visual):
    """`task="chat"` beside a click and without words was dropped without a word, and SAM-2 answered."""
    for worded, marks in product((False, True), MARKS):
        given = {name: [value] * 2 if visual == "both" else value for name, value in MARKS[marks].items()}
        call = {**VISUALS[visual], **given, **({"text": "What is it?"} if worded else {})}
        expected = outcome(task, worded, marks, visual)
        if expected in ("words", "clicks"):
            batch = tiny(**call, task=task)
            assert ("input_ids" in batch) == (expected == "words"), (worded, marks)
            assert len(batch["texts"]) == (2 if visual == "both" else 1)
            assert ("prompt_given" in batch) == (marks != "nothing")
        else:
            with pytest.raises(ValueError, match=expected) as error:
                tiny(**call, task=task)
            assert "\n" not in str(error.value)


def test_an_unknown_task_is_named_beside_a_click_too(tiny):
    """Clicks alone went to SAM-2 whatever the task was called."""
    with pytest.raises(ValueError, match="task='paint' is unknown; choose one of auto, segment, chat"):
        tiny(PICTURE, boxes=[3, 3, 12, 9], task="paint")
    with pytest.raises(ValueError, match="task='segment': give text= or messages=$"):
        tiny(PICTURE, boxes=[3, 3, 12, 9], task=["segment", "caption"])
