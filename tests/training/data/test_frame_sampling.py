"""Frames of a video: as inference chooses them, drawn anew later, and never without what is asked for."""

import numpy as np
import pytest

from desa2va.processing.inputs import key_frame_indices
from desa2va.training.data.frame_sampling import draw_frames
from desa2va.training.data.mask_codes import encode_mask
from desa2va.training.data.records import Record, expression_dialogue

SEEN, EMPTY = encode_mask(np.ones((4, 4), bool)), encode_mask(np.zeros((4, 4), bool))


def video(*where, length=40):
    dialogues = tuple(
        expression_dialogue(
            "it", tuple(SEEN if frame in shown else (None, EMPTY)[frame % 2] for frame in range(length))
        )
        for shown in where
    )
    return Record("v", ("v.mp4",), True, (4, 4), length, dialogues, "set")


def drawn(record, repetition=0, count=5, seed=0):
    return draw_frames(record, record.dialogues, count, repetition, np.random.default_rng(seed))


def test_first_as_inference_then_one_of_every_stretch():
    everywhere = video(range(40))
    assert drawn(everywhere) == key_frame_indices("uniform", 40, 5)
    assert drawn(everywhere) == drawn(everywhere, seed=1)
    for seed in range(20):
        frames = drawn(everywhere, repetition=1, seed=seed)
        assert [frame // 8 for frame in frames] == [0, 1, 2, 3, 4]
    assert drawn(video(range(3), length=3), repetition=4) == [0, 1, 2]


@pytest.mark.parametrize("repetition", [0, 3])
def test_what_is_asked_for_is_seen(repetition):
    """Guards objects that show themselves for a moment: most of their samples were blank masks."""
    for seed in range(10):
        frames = drawn(video({13}, {31, 32}), repetition, seed=seed)
        assert 13 in frames
        assert {31, 32} & set(frames)
        assert frames == sorted(set(frames))
        assert len(frames) == 5
    assert len(drawn(video(set()), repetition)) == 5
