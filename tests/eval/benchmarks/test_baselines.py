"""Floors and ceilings: what SAM-2 is told, worked out by hand."""

import numpy as np
import pytest

from desa2va.eval.benchmarks.baselines import OraclePrompt, whole_picture
from desa2va.eval.benchmarks.names import open_benchmark
from desa2va.eval.benchmarks.runner import Run
from tests.eval.benchmarks.layouts import BOXES, write_clips, write_refcoco
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
