"""Floors and ceilings: what SAM-2 is told, worked out by hand."""

import numpy as np
import pytest

from desa2va.eval.benchmarks.baselines import MOST_CHOICES, OracleKeyFrames, OraclePrompt, whole_picture
from desa2va.eval.benchmarks.names import open_benchmark
from desa2va.eval.benchmarks.runner import Run
from tests.eval.benchmarks.layouts import BOXES, answer_of, write_clips, write_refcoco
from tests.training.data.readers.picture_layouts import SIZE, box_mask


class Told(Exception):
    """What reached the processor."""


class Listener:
    def __call__(self, **inputs):
        raise Told(inputs)


def told(question, kind):
    with pytest.raises(Told) as caught:
        OraclePrompt(None, Listener(), kind)([question])
    return caught.value.args[0]


def questions(run):
    return [question for _, found in run.plan().all_questions() for question in found]


def test_the_true_box_and_point_of_a_picture(tmp_path):
    """A box ends behind its last pixel; a point lies in the middle of a pixel of the target. No target, no mask."""
    root = write_refcoco(tmp_path, {9: [(1, [1, 2], ["both"]), (2, [-1], ["a cat"])]}, "grefcoco", "grefs(unc).p")
    both, none = questions(Run(open_benchmark("grefcoco-unc-val"), root, tmp_path / "out"))
    x0, y0, _, _ = BOXES[1]
    _, _, x1, y1 = BOXES[2]
    asked = told(both, "box")
    assert asked["boxes"] == [[x0, y0, x1, y1]]
    assert set(asked) == {"boxes", "images"}
    ((x, y),) = told(both, "point")["points"][0]
    assert both.truth()[0, int(y), int(x)]
    assert (x % 1, y % 1) == (0.5, 0.5)
    (answer,) = OraclePrompt(None, Listener(), "box")([none])
    assert (answer.status, answer.objects) == ("no_target", ())
    whole = whole_picture([both, none])
    assert [answer.mask(question).sum() for answer, question in zip(whole, (both, none), strict=True)] == [3072, 3072]


def test_the_frame_that_shows_most(tmp_path):
    masks = np.zeros((3, *SIZE), bool)
    masks[1], masks[2] = box_mask(4, 4, 24, 24), box_mask(0, 0, 5, 5)
    said = {"0": {"exp": "it", "obj_id": [0], "anno_id": [7]}}
    clips = {"v": (np.full((3, *SIZE, 3), 90, np.uint8), said)}
    write_clips(tmp_path / "video_datas/mevis/valid_u", clips, masks={7: masks})
    (question,) = questions(Run(open_benchmark("mevis-valid_u"), tmp_path, tmp_path / "out"))
    asked = told(question, "box")
    assert (asked["boxes"], asked["key_frames"]) == ([[4, 4, 24, 24]], [1])


class ByKeyFrame:
    """Answers with a mask for each choice of key frames; `None` is the processor's own."""

    def __init__(self, known):
        self.known, self.asked = known, []

    def __call__(self, questions, key_frames=None):
        choice = key_frames and key_frames[0]
        self.asked.append(choice)
        masks = [self.known[question.id].get(choice, np.zeros(question.shape, bool)) for question in questions]
        return [answer_of(mask) for mask in masks]


def test_the_best_key_frame_of_every_question(tmp_path):
    """Each question has its own: the first is best seen from frame 1 (J 1/2), of the second the own choice (J 1).

    Frame 2 gives the first question half of the target on one frame of three: J 1/6.
    """
    truth = np.stack([box_mask(4, 4, 24, 24)] * 3)
    half = truth & box_mask(4, 4, 24, 14)
    sixth = half.copy()
    sixth[1:] = False
    said = {str(k): {"exp": f"it {k}", "obj_id": [0], "anno_id": [7]} for k in range(2)}
    write_clips(
        tmp_path / "video_datas/mevis/valid_u", {"v": (np.full((3, *SIZE, 3), 90, np.uint8), said)}, masks={7: truth}
    )
    asked = questions(Run(open_benchmark("mevis-valid_u"), tmp_path, tmp_path / "out"))
    model = ByKeyFrame({"v/0": {1: half, 2: sixth}, "v/1": {None: truth, 0: truth}})
    first, second = OracleKeyFrames(model)(asked)
    assert model.asked == [None, 0, 1, 2]
    assert np.array_equal(first.mask(asked[0]), half)
    assert np.array_equal(second.mask(asked[1]), truth)


def test_of_a_long_video_frames_are_tried_from_end_to_end(tmp_path):
    """Guards the time: a thousand frames are not tracked a thousand times."""
    count = 2 * MOST_CHOICES
    truth = np.zeros((count, *SIZE), bool)
    said = {"0": {"exp": "it", "obj_id": [0], "anno_id": [7]}}
    write_clips(
        tmp_path / "video_datas/mevis/valid_u", {"v": (np.zeros((count, *SIZE, 3), np.uint8), said)}, masks={7: truth}
    )
    model = ByKeyFrame({"v/0": {}})
    OracleKeyFrames(model)(questions(Run(open_benchmark("mevis-valid_u"), tmp_path, tmp_path / "out")))
    own, *frames = model.asked
    assert own is None
    assert (len(frames), frames[0], frames[-1]) == (MOST_CHOICES, 0, count - 1)
    assert set(np.diff(frames)) <= {2, 3}
