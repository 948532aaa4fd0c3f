"""Masks of a batch in the order of the model's object-frame pairs."""

import torch

from desa2va.training.mask_targets import mask_targets


def test_targets_hold_the_covered_share_in_pair_order():
    """A 4 x 4 mask with 3 pixels of the first quarter set becomes .75 there; sizes and frame counts may differ."""
    first = torch.zeros(1, 4, 4, dtype=torch.uint8)
    first[0, 0, :2] = 1
    first[0, 1, 0] = 1
    second = torch.ones(2, 6, 8, dtype=torch.uint8)
    targets = mask_targets([first, second], 2, torch.device("cpu"))
    assert targets.shape == (3, 2, 2)
    assert targets[0].tolist() == [[0.75, 0.0], [0.0, 0.0]]
    assert (targets[1:] == 1).all()


def test_no_masks():
    assert mask_targets([], 8, torch.device("cpu")).shape == (0, 8, 8)
