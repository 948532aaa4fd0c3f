import numpy as np
import pytest
import torch

from desa2va.processing.files.mask_cleanup import MaskOptions, clean_mask, frame_masks


def ring(size=20, hole=2):
    """A square mask of 12 x 12 pixels with a square hole in its middle."""
    mask = np.zeros((size, size), dtype=bool)
    mask[4:16, 4:16] = True
    mask[9 : 9 + hole, 9 : 9 + hole] = False
    return mask


@pytest.mark.parametrize(("area", "filled"), [(3, False), (4, True), (100, True)])
def test_a_hole_is_filled_up_to_its_area(area, filled):
    """Counted off by one, a limit of N pixels would spare or take holes of N pixels."""
    cleaned = clean_mask(ring(), max_hole_area=area)
    assert cleaned[9:11, 9:11].all() == filled
    assert cleaned.sum() == 144 - (0 if filled else 4)


def test_what_is_open_to_the_outside_is_no_hole():
    """A bay, or a gap that the border of the frame closes, is background and no damage."""
    mask = ring(hole=1)
    mask[9, 9:16] = False
    np.testing.assert_array_equal(clean_mask(mask, max_hole_area=400), mask)
    corner = np.ones((8, 8), dtype=bool)
    corner[0, :2] = False
    np.testing.assert_array_equal(clean_mask(corner, max_hole_area=400), corner)


def test_a_hole_that_touches_the_outside_at_a_corner_only_is_a_hole():
    """Mask pixels hang together over corners, so what lies between them must not leak over the same corner."""
    mask = np.zeros((5, 5), dtype=bool)
    mask[[1, 2, 2, 3], [2, 1, 3, 2]] = True
    assert clean_mask(mask, max_hole_area=1)[2, 2]


def test_small_pieces_go_and_the_largest_stays():
    """An object smaller than the limit would vanish with its specks."""
    mask = np.zeros((20, 20), dtype=bool)
    mask[2:5, 2:5] = True
    mask[10:12, 10:12] = True
    mask[18, 18] = True
    assert clean_mask(mask, max_speckle_area=1).sum() == 13
    assert clean_mask(mask, max_speckle_area=4).sum() == 9
    np.testing.assert_array_equal(clean_mask(mask, max_speckle_area=1000), clean_mask(mask, max_speckle_area=4))


def test_cleaning_is_off_by_default_and_leaves_its_input_alone():
    """A mask changed in place would change the result it came from."""
    mask = ring()
    before = mask.copy()
    assert clean_mask(mask) is mask
    clean_mask(mask, 10, 10)
    np.testing.assert_array_equal(mask, before)
    assert not clean_mask(np.zeros((4, 4), dtype=bool), 10, 10).any()


def test_a_shared_pixel_goes_to_the_strongest_present_object():
    """An absent object with high logits must not eat the pixels of one that is there; ties keep the first."""
    logits = torch.stack([torch.full((4, 4), 1.0), torch.full((4, 4), 3.0), torch.full((4, 4), 9.0)])
    logits[1, :, :2] = -1.0
    masks = list(frame_masks(logits, [True, True, False], (4, 4), MaskOptions(non_overlapping=True).completed()))
    assert masks[0][:, :2].all()
    assert not masks[0][:, 2:].any()
    assert masks[1][:, 2:].all()
    assert not masks[1][:, :2].any()
    assert not masks[2].any()
    tie = list(frame_masks(torch.ones(2, 4, 4), [True, True], (4, 4), MaskOptions(non_overlapping=True).completed()))
    assert tie[0].all()
    assert not tie[1].any()


def test_masks_overlap_unless_asked():
    logits = torch.ones(2, 4, 4)
    first, second = frame_masks(logits, [True, True], (8, 8), MaskOptions().completed())
    assert first.all()
    assert second.all()
    assert first.shape == (8, 8)


def test_a_filled_hole_yields_to_the_object_inside_it():
    """A ball seen through a ring belongs to the ball, also when holes are filled and overlap is taken away."""
    ring_logits = torch.where(torch.from_numpy(ring()), 5.0, -5.0)
    ball = torch.where(torch.from_numpy(ring()), -5.0, 0.5)
    ball[:8], ball[12:], ball[:, :8], ball[:, 12:] = -5.0, -5.0, -5.0, -5.0
    options = MaskOptions(non_overlapping=True, max_hole_area=10).completed()
    outer, inner = frame_masks(torch.stack([ring_logits, ball]), [True, True], (20, 20), options)
    assert inner.sum() == 4
    assert not (outer & inner).any()
    alone, _ = frame_masks(torch.stack([ring_logits, ball]), [True, False], (20, 20), options)
    assert alone.sum() == 144


def test_negative_areas_are_refused():
    with pytest.raises(ValueError, match="max_hole_area=-1"):
        MaskOptions(max_hole_area=-1)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "0.5", 2000])
def test_a_threshold_is_a_logit(value):
    """NaN called every object absent; infinity is no JSON, so its result could not be read again."""
    with pytest.raises(ValueError, match="mask_threshold=.*a logit from -1024 to 1024"):
        MaskOptions(mask_threshold=value)


def test_what_is_left_open_comes_from_the_model():
    asked, configured = MaskOptions(object_score_threshold=np.float32(2)), MaskOptions(0.5, -5.0, empty_absent=False)
    complete = asked.completed(configured)
    assert complete == MaskOptions(0.5, 2.0, empty_absent=False, two_step_resize=False, target_threshold=0.0)
    assert type(complete.object_score_threshold) is float
