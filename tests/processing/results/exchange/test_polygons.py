import numpy as np
from scipy import ndimage

from desa2va.processing.results.exchange.polygons import joined_rings, mask_rings, ring_area


def test_rings_are_the_mask(mask, fill):
    """Nothing is lost: also holes, single pixels, parts that share a corner only, and pictures of any shape."""
    rings = mask_rings(mask)
    np.testing.assert_array_equal(fill(rings, mask.shape), mask)
    assert sum(ring_area(ring) for ring in rings) == mask.sum()


def test_holes_are_walked_the_other_way_round(mask):
    """One ring clockwise for every part, hung together over edges; the others are holes."""
    outer = [ring for ring in mask_rings(mask) if ring_area(ring) > 0]
    assert len(outer) == ndimage.label(mask)[1]
    filled = sum(ring_area(ring) for ring in outer)
    assert (filled > mask.sum()) == any(ring_area(ring) < 0 for ring in mask_rings(mask))


def test_corners_of_a_rectangle_clockwise_from_the_top_left():
    """Pixel (x, y) is the square from (x, y) to (x + 1, y + 1); straight lines have no corners between."""
    mask = np.zeros((5, 9), bool)
    mask[1:3, 2:7] = True
    (ring,) = mask_rings(mask)
    assert ring.tolist() == [[2, 1], [7, 1], [7, 3], [2, 3]]
    assert mask_rings(np.zeros((5, 9), bool)) == []


def test_one_polygon_for_all_rings_fills_to_the_same_mask(mask, fill):
    """Formats without holes and parts: bridges are walked to and fro and enclose nothing."""
    np.testing.assert_array_equal(fill([joined_rings(mask_rings(mask))], mask.shape), mask)
