"""IoU of all pairs, against pycocotools."""

import numpy as np
import pytest
from pycocotools import mask as codes

from desa2va.eval.metrics.pairs import pairwise_iou


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (33, 64)])
def test_as_pycocotools(size):
    """Empty, full, one pixel and noise; two empty masks are no pair in either."""
    rng = np.random.default_rng(size[0])
    masks = [np.zeros(size, bool), np.ones(size, bool), np.zeros(size, bool), rng.random(size) < 0.4]
    masks[2][-1, 0] = True
    coded = [codes.encode(np.asfortranarray(mask, np.uint8)) for mask in masks]
    expected = codes.iou(coded, coded[::-1], [0] * len(coded))
    assert pairwise_iou(masks, masks[::-1]) == pytest.approx(np.asarray(expected), abs=1e-12)


def test_clips_count_over_frames_and_sizes_must_agree():
    clip = np.zeros((2, 2, 2), bool)
    clip[0, 0] = True
    assert pairwise_iou([clip], [np.ones_like(clip)]).tolist() == [[0.25]]
    assert pairwise_iou([], [clip]).shape == (0, 1)
    with pytest.raises(ValueError, match="must agree"):
        pairwise_iou([clip], [clip[0]])
