"""Places in the order of windows: each is where its window says, and finds its way back."""

import pytest
import torch

from desa2va.modeling_desa2va.window_order import WindowOrder


@pytest.mark.parametrize(("height", "width", "window"), [(8, 8, 4), (9, 14, 4), (3, 5, 8), (16, 2, 4)])
def test_the_way_into_windows_and_back(height, width, window):
    """By grid, and by image."""
    order = WindowOrder(2, height, width, window)
    grid = torch.arange(2.0 * height * width).view(2, height, width, 1)
    places = order.into(grid)
    assert torch.equal(order.out_of(places), grid)
    images = order.images(places)
    assert torch.equal(images.flatten(1).sort().values, grid.flatten(1))
    assert torch.equal(order.from_images(images), places)
    side = min(window, height), min(window, width)
    assert torch.equal(places[: side[0] * side[1]].view(side), grid[0, : side[0], : side[1], 0])


@pytest.mark.parametrize("at_once", [1, 10, 33, 1000])
def test_pieces_hold_all_windows_in_their_order(at_once):
    """One window at least, whole windows only."""
    order = WindowOrder(2, 9, 14, 4)
    pieces = order.pieces(at_once)
    assert sum(windows.places for piece in pieces for windows in piece) == 2 * 9 * 14
    shapes = [(part.rows, part.columns) for piece in pieces for part in piece for _ in range(part.count)]
    assert shapes == [(4, 4)] * 12 + [(4, 2)] * 4 + [(1, 4)] * 6 + [(1, 2)] * 2
    for piece in pieces:
        assert sum(part.places for part in piece) <= max(at_once, 16)
        assert sum(part.places for part in piece) <= at_once or sum(part.count for part in piece) == 1
    assert (at_once < 1000) == (len(pieces) > 1)
