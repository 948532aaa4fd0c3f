import numpy as np
import pytest

from desa2va.processing.files.visualization import object_colour, overlay_masks


def test_colours_of_many_objects_are_distinct():
    """Neighbouring objects in one colour can not be told apart."""
    colours = np.array([object_colour(index) for index in range(24)], dtype=float)
    distance = np.abs(colours[:, None] - colours[None]).sum(-1)
    assert distance[~np.eye(24, dtype=bool)].min() > 20
    assert min(distance[index, index + 1] for index in range(23)) > 150


def test_masks_colour_their_pixels_only():
    frame = np.full((40, 60, 3), 100, np.uint8)
    mask = np.zeros((40, 60), bool)
    mask[10:30, 20:50] = True
    drawn = overlay_masks(frame, [mask], object_ids=[3])
    assert (drawn[~mask] == 100).all()
    assert (drawn[10, 30] == object_colour(3)).all()
    assert not (drawn[20, 35] == 100).all()
    assert not (drawn[20, 35] == object_colour(3)).all()
    assert (frame == 100).all()


def test_labels_stay_inside_the_picture():
    """Text may be of any script and longer than a tiny picture."""
    mask = np.zeros((16, 16), bool)
    mask[0, 15] = True
    drawn = overlay_masks(np.zeros((16, 16, 3), np.uint8), [mask], ["一个 very long label"])
    assert drawn.shape == (16, 16, 3)
    assert (drawn[1:] > 0).any()


def test_empty_masks_draw_nothing_and_sizes_are_checked():
    frame = np.zeros((8, 8, 3), np.uint8)
    assert not overlay_masks(frame, [np.zeros((8, 8), bool)], ["nothing"]).any()
    with pytest.raises(ValueError, match=r"object 0 has shape \(8, 9\)"):
        overlay_masks(frame, [np.zeros((8, 9), bool)])
    with pytest.raises(ValueError, match="1 masks, 2 labels"):
        overlay_masks(frame, [np.zeros((8, 8), bool)], ["a", "b"])


def test_a_stray_speck_does_not_carry_the_label_away():
    """Models leave single pixels anywhere; a label far from its object names the wrong thing."""
    mask = np.zeros((120, 160), bool)
    mask[80:110, 100:140] = True
    mask[0, 0] = True
    drawn = overlay_masks(np.zeros((120, 160, 3), np.uint8), [mask], ["it"])
    assert not drawn[1:50].any()
    assert drawn[60:80, 90:120].any()


def test_colours_are_looked_up_as_they_were_computed():
    """A table per colour must give the very pixels of the formula, also where masks lie over each other."""
    random = np.random.default_rng(0)
    frame = random.integers(0, 256, (40, 60, 3), dtype=np.uint8)
    masks = [random.random((40, 60)) < share for share in (0.9, 0.6)]
    for opacity in (0.0, 0.3, 0.45, 1.0):
        expected = frame.copy()
        for mask, number in zip(masks, (4, 7), strict=True):
            colour = np.array(object_colour(number), dtype=np.float32)
            blended = (1 - opacity) * expected[mask] + opacity * colour
            expected[mask] = np.rint(blended).astype(np.uint8)
            padded = np.pad(mask, 1)
            inner = mask & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
            expected[mask & ~inner] = colour.astype(np.uint8)
        np.testing.assert_array_equal(overlay_masks(frame, masks, opacity=opacity, object_ids=[4, 7]), expected)
