"""Sizes and pixels of Sa2VA's rules, against figures of the peer's own preparation."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import GotOcr2ImageProcessor, Sam2ImageProcessor

from desa2va.processing.batch.image_rows import internvl_rows, sam_pixels
from desa2va.processing.batch.sa2va_pixels import first_resize, tile_grid, tiles


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [(1, 1, (56, 56)), (28, 28, (56, 56)), (20, 200, (28, 196)), (56, 56, (56, 56)), (112, 84, (112, 84))],
)
def test_first_resize_of_qwen(width, height, expected):
    """Width and height after the peer's first resize, as its own run stated them."""
    assert first_resize(np.zeros((height, width, 3), np.uint8)).shape[1::-1] == expected


def test_a_large_picture_shrinks_to_the_most_tokens():
    height, width = first_resize(np.zeros((8000, 8000, 3), np.uint8)).shape[:2]
    assert height == width == 3584  # 16,384 tokens of 28 x 28


@pytest.mark.parametrize(
    ("width", "height", "grid"),
    [(320, 160, (2, 1)), (448, 448, (1, 1)), (1000, 1000, (3, 3)), (160, 320, (1, 2)), (4000, 100, (12, 1))],
)
def test_tiles_have_the_nearest_aspect_ratio(width, height, grid):
    """A square of 1000 pixels is as near to 1, 4 and 9 tiles, and has pixels for nine."""
    assert tile_grid(height, width, 12, 448) == grid


def test_tiles_are_cut_row_by_row_and_followed_by_the_thumbnail():
    frame = np.random.default_rng(0).integers(0, 256, (90, 60, 3), dtype=np.uint8)
    cut = tiles(frame, 6, 28)
    columns, rows = tile_grid(90, 60, 6, 28)
    whole = np.array(Image.fromarray(frame).resize((columns * 28, rows * 28)))
    assert len(cut) == columns * rows + 1
    for number in range(columns * rows):
        row, column = divmod(number, columns)
        expected = whole[row * 28 : row * 28 + 28, column * 28 : column * 28 + 28]
        assert (cut[number] == expected).all()
    assert (cut[-1] == np.array(Image.fromarray(frame).resize((28, 28)))).all()


def test_an_image_processor_asks_for_the_rules_and_keeps_asking(tmp_path):
    """The field must survive saving, or a converted model reads other pixels than the published one."""
    frame = np.random.default_rng(1).integers(0, 256, (40, 70, 3), dtype=np.uint8)
    size = {"height": 32, "width": 32}
    Sam2ImageProcessor(size=size, pixel_rule="sa2va").save_pretrained(tmp_path)
    ruled = Sam2ImageProcessor.from_pretrained(tmp_path)
    mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in (ruled.image_mean, ruled.image_std))
    expected = torch.from_numpy(np.array(Image.fromarray(frame).resize((32, 32)))).permute(2, 0, 1) / 255
    torch.testing.assert_close(sam_pixels(ruled, [frame])[0], (expected - mean) / deviation, atol=1e-6, rtol=0)
    assert (sam_pixels(ruled, [frame]) - sam_pixels(Sam2ImageProcessor(size=size), [frame])).abs().max() > 0.01


def test_frames_of_several_limits_keep_their_order():
    frames = [np.full((40, 80, 3), value, np.uint8) for value in (10, 200)]
    processor = GotOcr2ImageProcessor(size={"height": 28, "width": 28}, pixel_rule="sa2va")
    rows = internvl_rows(processor, frames, [1, 4], 4)
    assert rows.rows_per_image == [1, 3]
    assert rows.tokens_per_image == [4, 12]
    assert rows.pixel_values[0].mean() < rows.pixel_values[1:].mean()
