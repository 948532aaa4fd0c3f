"""What a describer is shown."""

import numpy as np
import pytest

from desa2va.annotation.frames import BLANK, YELLOW, blanked, crop_slices, largest_frame, outlined, spread_frames
from desa2va.processing.files import encode_mask


def code(area):
    mask = np.zeros((10, 10), bool)
    mask.ravel()[:area] = True
    return encode_mask(mask)


def test_the_frame_with_most_of_the_object():
    """Of equal ones the first; frames without a code count as empty."""
    assert largest_frame((None, code(3), code(7), None, code(7))) == 2


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (range(100), [0, 14, 28, 42, 57, 71, 85, 99]),
        (range(3), [0, 1, 2]),
        (range(50, 57), list(range(50, 57))),
        ([40], [40]),
        ([10, 90], [10, 21, 33, 44, 56, 67, 79, 90]),
    ],
)
def test_eight_frames_from_first_to_last_sight(shown, expected):
    """An object that is there for a moment must be on one of them; one that vanishes between is seen to do so."""
    codes = tuple(code(4) if frame in shown else code(0) if frame % 2 else None for frame in range(100))
    assert spread_frames(codes) == expected


def test_blanked_keeps_the_object_alone():
    frame = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    mask = np.eye(4, dtype=bool)
    shown = blanked(frame, mask)
    assert np.array_equal(shown[mask], frame[mask])
    assert (shown[~mask] == BLANK).all()


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((100, 200, 100, 200), (80, 220, 80, 220)),
        ((0, 100, 590, 600), (0, 140, 536, 600)),
        ((0, 1, 0, 1), (0, 64, 0, 64)),
        ((0, 300, 0, 600), (0, 300, 0, 600)),
    ],
)
def test_a_crop_has_a_margin_and_stays_inside(box, expected):
    """Guards against crops of a few pixels, and crops beyond the frame."""
    mask = np.zeros((300, 600), bool)
    mask[box[0] : box[1], box[2] : box[3]] = True
    rows, columns = crop_slices(mask)
    assert (rows.start, rows.stop, columns.start, columns.stop) == expected


@pytest.mark.parametrize("full", [False, True])
def test_an_outline_is_yellow_and_hides_nothing_of_the_object(full):
    frame = np.zeros((60, 80, 3), np.uint8)
    mask = np.zeros((60, 80), bool)
    mask[20:40, 30:50] = True
    mask |= full
    shown = outlined(frame, mask)
    drawn = (shown == YELLOW).all(axis=-1)
    assert not frame.any()
    assert drawn.any()
    assert (drawn & mask).any() == full
    if not full:
        assert drawn[18:42, 28:52].sum() == drawn.sum() >= 4 * 20 * 2


def test_an_absent_object_has_no_outline():
    frame = np.zeros((60, 80, 3), np.uint8)
    assert not outlined(frame, np.zeros((60, 80), bool)).any()
