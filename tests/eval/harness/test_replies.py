"""Results in the words of other harnesses."""

import json

import numpy as np
import pytest

from desa2va.eval.harness.replies import inner_point, masks_reply, tracks_reply
from desa2va.processing.files import decode_mask, encode_mask


class Entry:
    """An object with boxes as masks."""

    def __init__(self, codes, iou=0.5, present=0.8):
        self.codes, self.iou_scores, self.object_scores = codes, [iou] * len(codes), [present] * len(codes)


class Result:
    def __init__(self, *objects):
        self.objects = objects


def code(*box, size=(40, 60)):
    mask = np.zeros(size, bool)
    if box:
        mask[box[1] : box[3], box[0] : box[2]] = True
    return encode_mask(mask)


def test_masks_have_boxes_and_scores_and_empty_ones_are_left_out():
    """An empty mask would count as a prediction of something."""
    told = json.loads(masks_reply(Result(Entry([code(10, 5, 30, 20)]), Entry([code()]))))
    assert told["boxes"] == [[10, 5, 30, 20]]
    assert told["scores"] == [pytest.approx(0.4)]
    assert decode_mask(told["masks"][0]).sum() == 20 * 15
    assert json.loads(masks_reply(Result())) == {"masks": [], "boxes": [], "scores": []}


def test_tracks_name_a_point_inside_on_every_frame():
    """Coordinates count to 1000; frames without an object are left out."""
    first = Entry([code(0, 0, 11, 11), code(), code(40, 20, 51, 31)])
    second = Entry([code(), code(20, 10, 31, 21), code()])
    text = tracks_reply(Result(first, second), [0.0, 0.5, 1.0])
    assert text == '<tracks coords="0.0000 0 83 125; 0.5000 1 417 375; 1.0000 0 750 625">target objects</tracks>'
    assert tracks_reply(Result(), [0.0]) == '<tracks coords="">target objects</tracks>'


@pytest.mark.parametrize("seed", range(20))
def test_the_point_is_in_the_mask_whatever_its_shape(seed):
    """A centre of mass lies in the hole of a ring."""
    generator = np.random.default_rng(seed)
    mask = generator.random((17, 23)) < 0.2
    mask[generator.integers(17), generator.integers(23)] = True
    x, y = inner_point(mask)
    assert mask[y, x]
    ring = np.zeros((21, 21), bool)
    ring[2:19, 2:19], ring[6:15, 6:15] = True, False
    x, y = inner_point(ring)
    assert ring[y, x]
