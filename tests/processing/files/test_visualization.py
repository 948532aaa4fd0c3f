import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

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


def drawn_as_a_whole(frame, masks, labels, numbers):
    """What `overlay_masks` says, on the whole frame, each label on all of the picture."""
    drawn, width = frame.copy(), max(1, round(min(frame.shape[:2]) / 240))
    for mask, number in zip(masks, numbers, strict=True):
        inner = mask
        for _ in range(width):
            padded = np.pad(inner, 1)
            inner = inner & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
        colour = np.array(object_colour(number), dtype=np.float32)
        drawn[mask] = np.rint(0.55 * drawn[mask] + 0.45 * colour).astype(np.uint8)
        drawn[mask & ~inner] = colour.astype(np.uint8)
    image = Image.fromarray(drawn)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=max(10, round(min(image.size) / 32)))
    for mask, number, label in zip(masks, numbers, labels, strict=True):
        if not label or not mask.any():
            continue
        rows, columns = np.nonzero(mask)
        first = len(rows) // 100
        left, top, right, bottom = draw.textbbox((0, 0), label, font=font)
        w, h = right - left + 4, bottom - top + 4
        x = max(0, min(int(columns[first]) - w // 2, image.width - w))
        y = max(0, min(int(rows[first]) - h - 2, image.height - h))
        red, green, blue = object_colour(number)
        draw.rectangle((x, y, x + w, y + h), fill=(red, green, blue))
        bright = 0.299 * red + 0.587 * green + 0.114 * blue > 140
        draw.text((x + 2 - left, y + 2 - top), label, font=font, fill=(0, 0, 0) if bright else (255, 255, 255))
    return np.asarray(image)


@pytest.mark.parametrize("size", [(1, 1), (9, 7), (24, 300), (300, 24), (500, 490)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_what_is_drawn_is_that_of_the_whole_frame(size, order):
    """Only the pixels of masks, outlines within the box and the plates of labels are touched: none may be missed, and
    decoded masks lie column by column.
    """
    random = np.random.default_rng(0)
    frame = random.integers(0, 256, (*size, 3), dtype=np.uint8)
    rows, columns = np.ogrid[: size[0], : size[1]]
    disc = (rows - size[0] * 0.6) ** 2 + (columns - size[1] * 0.3) ** 2 < (min(size) * 0.35) ** 2
    specks = random.random(size) < 0.01
    masks = [disc, disc ^ specks, specks, np.ones(size, bool), np.zeros(size, bool), columns + 0 * rows > size[1] - 3]
    masks = [np.array(mask, order=order) for mask in masks]
    labels, numbers = ["the disc", "a very long label, wider than its picture", "", "all", "none", "edge"], range(6)
    expected = drawn_as_a_whole(frame, masks, labels, numbers)
    np.testing.assert_array_equal(overlay_masks(frame, masks, labels), expected)
    assert overlay_masks(np.asfortranarray(frame), masks, labels).tobytes() == expected.tobytes()
