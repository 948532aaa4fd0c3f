"""Filled polygons against what OpenCV 4.8.0 painted (`polylines`, then `fillPoly`); 4.10 paints the same."""

import numpy as np
import pytest

from desa2va.training.data.readers.opencv_polygons import fill_polygon

SIZE = (14, 18)
PAINTED = [
    (
        [[2.9, 1.2], [13, 4.1], [10.5, 10.9], [3.3, 8]],
        "00000c0003f000ffc03ffc07ff01ff807fe01ff001fc00060000000000000000",
    ),
    ([[0, 0], [17, 5], [1, 3]], "c0003f0007f801ffc003ff0000f0000000000000000000000000000000000000"),
    ([[1, 1], [15, 12], [15, 1], [1, 12]], "00001000460031e03c7c1f1f8fc7fff1fffc7e3f1f07c780f1800c4001000000"),
    ([[-6, 3], [9, -5], [25, 9], [8, 20]], "fffe3fffcffffbfffffffffffffffffffffffffffffffffffdffff3fffc7fff0"),
    ([[5, 5], [18, 5], [18, 14], [5, 14]], "000000000000000000000001fff07ffc1fff07ffc1fff07ffc1fff07ffc1fff0"),
    ([[4, 7]], "0000000000000000000000000000000020000000000000000000000000000000"),
    ([[2, 2], [14, 9]], "0000000002000060000600006000040000c0000c000080000000000000000000"),
]


@pytest.mark.parametrize(("points", "painted"), PAINTED)
def test_the_very_pixels_of_opencv(points, painted):
    """Guards ReasonSeg's numbers: rounding of edges, corners outside, outlines without area."""
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(painted), np.uint8))[: SIZE[0] * SIZE[1]]
    assert np.array_equal(fill_polygon(points, SIZE), bits.reshape(SIZE).astype(bool))
