import numpy as np
import pytest
import torch
from transformers import GotOcr2ImageProcessor, Qwen2VLImageProcessor, Sam2ImageProcessor

from desa2va.processing.batch.image_rows import internvl_rows, qwen_rows, sam_pixels


@pytest.fixture
def frames():
    generator = np.random.default_rng(0)
    sizes = [(20, 30), (40, 20), (20, 30), (1, 9)]
    return [generator.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


def test_grouping_keeps_the_order_and_the_values_of_single_calls(frames):
    """Frames of equal size share a call; a wrong reordering would swap pictures between visuals."""
    processor = GotOcr2ImageProcessor(size={"height": 32, "width": 32})
    together = internvl_rows(processor, frames, [1] * 4, 4)
    for index, frame in enumerate(frames):
        alone = processor(images=frame, input_data_format="channels_last", return_tensors="pt")["pixel_values"]
        torch.testing.assert_close(together.pixel_values[index : index + 1], alone)
    assert together.tokens_per_image == [4] * 4


def test_tiles_are_those_of_the_stock_processor(frames):
    """Tiled and whole images are processed apart; each must get its own number of rows and tokens back."""
    processor = GotOcr2ImageProcessor(size={"height": 32, "width": 32})
    limits = [6, 1, 6, 6]
    rows = internvl_rows(processor, frames, limits, 4)
    expected = [
        processor.get_number_of_image_patches(*frame.shape[:2], {"crop_to_patches": limit > 1, "max_patches": limit})
        for frame, limit in zip(frames, limits, strict=True)
    ]
    assert rows.rows_per_image == expected
    assert rows.tokens_per_image == [4 * count for count in expected]
    assert len(rows.pixel_values) == sum(expected) > 4


def test_qwen_rows_match_the_stock_processor(frames):
    processor = Qwen2VLImageProcessor(size={"shortest_edge": 28 * 28, "longest_edge": 56 * 56})
    rows = qwen_rows(processor, frames)
    for index, part in enumerate(rows.pixel_values.split(rows.rows_per_image)):
        alone = processor(images=frames[index], input_data_format="channels_last", return_tensors="pt")
        torch.testing.assert_close(part, alone["pixel_values"])
        assert rows.grid_thw[index].tolist() == alone["image_grid_thw"][0].tolist()
        assert rows.tokens_per_image[index] == len(part) // 4


def test_sam_pixels_match_the_stock_processor(frames):
    processor = Sam2ImageProcessor(size={"height": 32, "width": 32})
    together = sam_pixels(processor, frames)
    alone = [processor(images=frame, input_data_format="channels_last", return_tensors="pt") for frame in frames]
    torch.testing.assert_close(together, torch.cat([entry["pixel_values"] for entry in alone]))


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (32, 32), (33, 31), (200, 97), (5, 400)])
def test_sam_pixels_are_the_stock_processors_bit_for_bit(size):
    """Frames are resized before they are laid out channel by channel: the order must not show in any pixel."""
    frame = np.random.default_rng(3).integers(0, 256, (*size, 3), dtype=np.uint8)
    for options in ({}, {"resample": 3}, {"do_resize": False}, {"do_normalize": False}):
        processor = Sam2ImageProcessor(size={"height": 32, "width": 32}, **options)
        stock = processor(images=frame, input_data_format="channels_last", return_tensors="pt")["pixel_values"]
        assert torch.equal(sam_pixels(processor, [frame, frame[::-1].copy()])[:1], stock)
