"""Region cells, and the errors of their shapes."""

import numpy as np
import pytest

from desa2va.processing.batch.sa2va_prompts import region_cells


def test_cells_are_numbered_row_by_row():
    masks = np.zeros((2, 8, 8))
    masks[0, :4, 4:] = 1
    masks[1, 6:, :2] = 1
    assert region_cells([masks], 4) == [[2, 3, 6, 7], [12]]


def test_a_region_between_the_points_of_the_grid_vanishes():
    """Nearest resizing looks at single pixels; such a region is named in the text without a token."""
    masks = np.zeros((1, 64, 64))
    masks[0, 1, 1] = 1
    assert region_cells([masks], 4) == [[]]


@pytest.mark.parametrize("wrong", [[], np.ones((1, 4, 4)), [np.ones((4, 4))], [np.empty((0, 4, 4))], [[["a"]]]])
def test_other_shapes_are_refused(wrong):
    with pytest.raises(ValueError, match="mask_prompts="):
        region_cells(wrong, 4)
