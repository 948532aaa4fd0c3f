"""Dense ground truth of generated scenes against a scene made by hand."""

import numpy as np

from desa2va.training.data.sample import Sample
from desa2va.training.dense_targets import factor_maps, motion_maps, token_presence


def scene():
    """8 x 8 pixels: a small red circle fills the upper left quarter, a large blue square one pixel of the lower
    right."""
    ids = np.zeros((1, 8, 8), np.uint8)
    ids[0, :4, :4] = 1
    ids[0, 7, 7] = 2
    objects = [
        {"color": "red", "shape": "circle", "size": "small"},
        {"color": "blue", "shape": "square", "size": "large"},
    ]
    return Sample(np.zeros((1, 8, 8, 3), np.uint8), (), scene={"instance_map": ids, "objects": objects})


def test_cells_show_colour_shape_and_size():
    """Red is colour 1, circle shape 1, small size 1; 0 is background. A single pixel of sixteen loses its cell."""
    maps = factor_maps([scene()], 2, majority=True)
    assert maps.shape == (3, 1, 2, 2)
    assert maps[:, 0, 0, 0].tolist() == [1, 1, 1]
    assert maps[:, 0, 1, 1].tolist() == [0, 0, 0]
    fine = factor_maps([scene()], 8, majority=False)
    assert fine[:, 0, 7, 7].tolist() == [3, 2, 2]


def test_presence_names_colour_shape_and_pair():
    """Grid 4 -> 2 x 2 tokens: the first sees the red circle, the last (four cells, one of them blue) the blue
    square."""
    presence = token_presence([scene()], 4)[0]
    assert presence[0].nonzero()[:, 0].tolist() == [0, 8, 14]
    assert presence[1].sum() == 0
    ids = scene().scene["instance_map"]
    ids[0, 6:, 6:] = 2
    again = token_presence(
        [Sample(scene().frames, (), scene={"instance_map": ids, "objects": scene().scene["objects"]})], 4
    )[0]
    assert again[3].nonzero()[:, 0].tolist() == [2, 8 + 1, 14 + 2 * 6 + 1]


def test_a_cell_shows_the_motion_of_what_has_come_from_an_earlier_frame():
    """Guards a direction asked for where nothing could be seen to move: at rest, in pictures, on the first frame."""
    ids = np.zeros((3, 8, 8), np.uint8)
    ids[:, :4, :4] = 1
    ids[1:, 4:, 4:] = 2
    ids[:, 7, 0] = 3
    objects = [
        {"motion": motion, "first_frame": first} for motion, first in (("right", 0), ("up", 1), ("", 0), ("down", 0))
    ]
    moving = Sample(np.zeros((3, 8, 8, 3), np.uint8), (), scene={"instance_map": ids, "objects": objects})
    assert motion_maps([moving], 2).tolist() == [[[-1, -1], [-1, -1]], [[1, -1], [-1, -1]], [[1, -1], [-1, 2]]]
