"""Boundaries and F, against hand-worked values and a plain version of DAVIS' definition."""

import numpy as np
import pytest
from scipy import ndimage

from desa2va.eval.metrics.boundary import (
    boundary_accuracy,
    boundary_map,
    boundary_radius,
    dilate,
)


def test_boundary_map_by_hand():
    """One pixel: it, its left, upper and upper left neighbour differ from a neighbour to the right or below."""
    mask = np.zeros((4, 4), bool)
    mask[2, 2] = True
    expected = np.zeros((4, 4), bool)
    expected[1:3, 1:3] = True
    assert np.array_equal(boundary_map(mask), expected)


def test_boundary_map_at_the_edges():
    """The last row compares to the right, the last column downwards, the corner never."""
    mask = np.zeros((3, 3), bool)
    mask[2, 2] = True
    expected = np.zeros((3, 3), bool)
    expected[1, 1] = expected[1, 2] = expected[2, 1] = True
    assert np.array_equal(boundary_map(mask), expected)
    assert not boundary_map(np.ones((3, 3), bool)).any()


@pytest.mark.parametrize("radius", [0, 1, 2, 3, 5, 12])
def test_dilation_is_by_distance(radius):
    """A disk, not a square or a diamond; also where it is larger than the picture."""
    mask = np.random.default_rng(radius).random((9, 11)) < 0.05
    mask[4, 0] = True
    rows, columns = np.mgrid[:9, :11]
    points = np.argwhere(mask)
    near = ((rows[..., None] - points[:, 0]) ** 2 + (columns[..., None] - points[:, 1]) ** 2).min(-1) <= radius**2
    assert np.array_equal(dilate(mask, radius), near)


def test_radius():
    """DAVIS' 854 x 480 frames give 8 pixels; the radius is rounded up; a tolerance of 1 or more is in pixels."""
    assert boundary_radius(480, 854) == 8
    assert boundary_radius(128, 128) == 2
    assert boundary_radius(480, 854, 3) == 3


def test_boundary_accuracy_forgives_small_shifts_only():
    """At 128 x 128 the disk has 2 pixels: a square shifted by 2 is perfect, shifted by 20 it is not."""
    clip = np.zeros((3, 128, 128), bool)
    clip[:, 40:80, 40:80] = True
    shifted = np.stack([np.roll(clip[0], shift, axis=1) for shift in (0, 2, 20)])
    scores = boundary_accuracy(shifted, clip)
    assert scores[0] == scores[1] == 1
    assert 0.3 < scores[2] < 0.7


def plain_accuracy(prediction, truth):
    """F of one frame as DAVIS defines it, over the whole picture and with a dilation of scipy's."""
    radius = int(np.ceil(0.008 * np.sqrt(sum(side**2 for side in truth.shape))))
    rows, columns = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disk = rows**2 + columns**2 <= radius**2
    edges = []
    for mask in (prediction, truth):
        grown = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
        edge = mask ^ grown[1:, :-1] | mask ^ grown[:-1, 1:] | mask ^ grown[1:, 1:]
        edge[-1, -1] = False
        edges.append(edge)
    found, real = edges
    if not found.any() or not real.any():
        return float(found.any() == real.any())
    precision = (found & ndimage.binary_dilation(real, disk)).sum() / found.sum()
    recall = (real & ndimage.binary_dilation(found, disk)).sum() / real.sum()
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def odd_masks(rng, height, width):
    """Empty, full, one pixel, each corner, noise and a block of a picture."""
    masks = np.zeros((9, height, width), bool)
    masks[1] = True
    masks[2, rng.integers(height), rng.integers(width)] = True
    masks[3, 0, 0] = masks[4, -1, -1] = masks[5, 0, -1] = masks[6, -1, 0] = True
    masks[7] = rng.random((height, width)) < 0.3
    masks[8, height // 3 : -1, width // 3 :] = True
    return masks


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 1), (2, 3), (17, 33), (64, 47), (97, 130)])
def test_box_and_flat_shifts_change_nothing(size):
    """All pairs of odd masks. Guards what working in a box may lose: last rows and columns, masks at the border."""
    masks = odd_masks(np.random.default_rng(sum(size)), *size)
    pairs = [(one, other) for one in masks for other in masks]
    found = boundary_accuracy(*(np.stack(part) for part in zip(*pairs, strict=True)))
    assert found == pytest.approx([plain_accuracy(*pair) for pair in pairs], abs=1e-9)


def test_void_leaves_both_masks():
    """Void cuts prediction and truth alike, so its border is a boundary of both; a disagreement inside it is none."""
    truth = np.zeros((1, 40, 40), bool)
    truth[0, 10:20, 10:20] = True
    prediction, void = truth.copy(), np.zeros_like(truth)
    prediction[0, 30:35, 30:35] = void[0, 29:36, 29:36] = True
    assert boundary_accuracy(prediction, truth)[0] < 1
    assert boundary_accuracy(prediction, truth, void=void)[0] == 1
    with pytest.raises(ValueError, match="void pixels"):
        boundary_accuracy(prediction, truth, void=void[:, :4])
