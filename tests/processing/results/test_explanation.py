import numpy as np
import pytest
import torch

from desa2va.processing.results.explanation import BranchLogits, Explanation, ObjectExplanation
from desa2va.processing.results.explanation_picture import heat


def half(value, size=8):
    """Logits (1, size, size): `value` on the left half, -value on the right."""
    logits = torch.full((1, size, size), -float(value))
    logits[..., : size // 2] = value
    return logits


def explained(text, visual, gate, size=(8, 8), frames=1):
    logits = BranchLogits(text, visual, gate * visual + (1 - gate) * text, torch.tensor([gate]))
    return ObjectExplanation(0, "the star", [0], size, logits, [gate], [0.5], [0.9] * frames, [0.4] * frames)


def test_masks_and_uncertainty_of_two_branches():
    """Text says left, visual says right: sure of opposite things, so disagreement is near 1; the gate decides."""
    entry = explained(half(4), -half(4), 0.75)
    left = np.zeros((8, 8), bool)
    left[:, :4] = True
    np.testing.assert_array_equal(entry.text_mask(), left)
    np.testing.assert_array_equal(entry.visual_mask(), ~left)
    np.testing.assert_array_equal(entry.fused_mask(), ~left)
    expected = 1 / (1 + np.exp(-4)) - 1 / (1 + np.exp(4))
    np.testing.assert_allclose(entry.uncertainty(), np.full((8, 8), expected), rtol=1e-5)
    with pytest.raises(IndexError, match="key frame 1 does not exist; object 0 has 1"):
        entry.text_mask(1)


def test_branches_that_agree_are_certain():
    """Also where both are unsure: the map is of disagreement, not of doubt."""
    assert not explained(half(0.1), half(0.1), 0.5).uncertainty().any()


@pytest.mark.parametrize("size", [(20, 30), (8, 64), (64, 8), (1, 1)])
@pytest.mark.parametrize("frames", [1, 5])
def test_one_picture_for_any_shape(size, frames):
    """A row per object; of a video with its curves. Long pictures must keep their names and words."""
    entry = explained(half(4), -half(4), 0.75, size, frames)
    image = np.full((*size, 3), 90, np.uint8)
    one, two = (Explanation([entry] * count).plot(image=image) for count in (1, 2))
    assert (one.dtype, one.ndim) == (np.uint8, 3)
    assert two.shape == (2 * one.shape[0], *one.shape[1:])
    assert one.shape[1] > 600
    assert len(np.unique(one.reshape(-1, 3), axis=0)) > 8


def test_nothing_to_explain_or_to_draw_on_is_said():
    with pytest.raises(ValueError, match="marks no object"):
        Explanation([]).plot()
    with pytest.raises(ValueError, match="give the picture as image="):
        Explanation([explained(half(4), half(4), 0.5)]).plot()


def test_heat_is_grey_where_all_agree():
    frame = np.dstack([np.full((2, 2), value, np.uint8) for value in (30, 60, 90)])
    drawn = heat(frame, np.array([[0.0, 0.5], [1.0, 0.0]], np.float32))
    assert drawn[0, 0].tolist() == [36, 36, 36]
    assert drawn[0, 1].tolist() == [255, 0, 0]
    assert drawn[1, 0].tolist() == [255, 255, 0]
