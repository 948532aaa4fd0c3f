"""Masks that exchange formats trip over, and a rasteriser that shares no code with the package."""

import math

import numpy as np
import pytest

from desa2va.processing.files.mask_codec import encode_mask
from desa2va.processing.inputs.video_io import MemorySource
from desa2va.processing.results.results import ObjectResult, SegmentationResult


def picture_of(*rows):
    return np.array([[letter == "#" for letter in row] for row in rows])


CASES = {
    "one_pixel": picture_of("#"),
    "pixel_in_a_corner": np.pad(picture_of("#"), ((4, 0), (6, 0))),
    "everything": np.ones((5, 7), bool),
    "hole": np.pad(picture_of("#####", "#.#.#", "#####"), 2),
    "part_in_a_hole": picture_of("#######", "#.....#", "#.###.#", "#.....#", "#######"),
    "parts_at_a_corner": picture_of("##..", "##..", "..##", ".#.#"),
    "hole_at_a_corner": picture_of("####", "#.##", "##.#", "####"),
    "several_parts": picture_of("#..#.##", "#..#...", "...##.#"),
    "noise": np.random.default_rng(1).random((13, 17)) < 0.5,
    "long": np.random.default_rng(2).random((8, 64)) < 0.4,
    "blob": np.hypot(*np.mgrid[-40:41, -30:75]) < 29.3,
}


@pytest.fixture(params=sorted(CASES))
def mask(request):
    """Bool `(H, W)` with at least one pixel."""
    return CASES[request.param]


@pytest.fixture(scope="session")
def fill():
    """Fills rings by the even-odd rule at the middles of pixels."""

    def filled(rings, size):
        inside = np.zeros(size, bool)
        for ring in rings:
            for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
                low, high = sorted((y0, y1))
                for row in range(math.ceil(low - 0.5), math.ceil(high - 0.5)):
                    crossing = x0 + (row + 0.5 - y0) * (x1 - x0) / (y1 - y0)
                    inside[row, math.ceil(crossing - 0.5) :] ^= True
        return inside

    return filled


@pytest.fixture(scope="session")
def make_result():
    """A result from bool masks (O, T, H, W) and phrases."""

    def make(masks, phrases=None):
        count, num_frames, height, width = masks.shape
        objects = [
            ObjectResult(
                number,
                "ok",
                "",
                (phrases or [None] * count)[number],
                None,
                0.9,
                [encode_mask(mask) for mask in track],
                [0.5] * num_frames,
                [0.8 if mask.any() else 0.1 for mask in track],
            )
            for number, track in enumerate(masks)
        ]
        frames = np.random.default_rng(0).integers(0, 255, (num_frames, height, width, 3), np.uint8)
        source = MemorySource(frames, "clip", 8.0)
        return SegmentationResult("", "", objects, "ok", "", height, width, num_frames, 8.0, "clip", source)

    return make


@pytest.fixture
def clip(make_result):
    """Two objects on three frames of 10 x 15 pixels: both on the first, none on the second, one on the last."""
    masks = np.zeros((2, 3, 10, 15), bool)
    masks[0, [0, 2], 2:5, 3:9] = True
    masks[0, 0, 3, 5] = False
    masks[1, 0, 6:9, 1:4] = True
    return make_result(masks, ["red  circle\n", None])
