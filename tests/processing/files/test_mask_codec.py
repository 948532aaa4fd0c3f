import numpy as np
import pytest
import torch

from desa2va.processing.files import mask_codec
from desa2va.processing.files.mask_codec import (
    decode_mask,
    encode_mask,
    logits_to_codes,
    mask_area,
    mask_box,
    mask_iou,
)


def random_mask(size=(7, 11), seed=0):
    return np.random.default_rng(seed).random(size) > 0.5


@pytest.mark.parametrize("mask", [random_mask(), np.zeros((5, 3), bool), np.ones((1, 9), bool), random_mask((9, 1))])
def test_codes_are_exact(mask):
    code = encode_mask(mask)
    np.testing.assert_array_equal(decode_mask(code), mask)
    assert mask_area(code) == mask.sum()
    assert isinstance(code["counts"], str)


def test_box_ends_beyond_the_last_pixel():
    """COCO boxes are (x, y, w, h); read as corners they cut the object."""
    mask = np.zeros((20, 30), bool)
    mask[4:9, 10:25] = True
    assert mask_box(encode_mask(mask)) == (10, 4, 25, 9)
    assert mask_box(encode_mask(np.zeros((20, 30), bool))) is None


def test_iou_of_empty_masks_is_one():
    empty, full = encode_mask(np.zeros((4, 4), bool)), encode_mask(np.ones((4, 4), bool))
    half = encode_mask(np.tril(np.ones((4, 4), bool)))
    assert mask_iou(empty, empty) == 1
    assert mask_iou(empty, full) == 0
    assert mask_iou(half, full) == pytest.approx(10 / 16)


def test_logits_are_resized_before_the_threshold(monkeypatch):
    """Thresholded first, edges would be stair cases of the low resolution. Chunks must not change the result."""
    logits = torch.linspace(-1, 1, 8)[None, None].expand(3, 8, 8).clone()
    size = (20, 33)
    whole = logits_to_codes(logits.half(), size, 0.0)
    mask = decode_mask(whole[0])
    assert mask[:, 17:].all()
    assert not mask[:, :16].any()
    monkeypatch.setattr(mask_codec, "_CHUNK_PIXELS", 1)
    assert logits_to_codes(logits.half(), size, 0.0) == whole
    assert mask_area(logits_to_codes(logits, size, 0.5)[0]) < mask_area(whole[0])


def test_absent_frames_are_empty():
    codes = logits_to_codes(torch.ones(3, 4, 4), (8, 8), 0.0, [True, False, True])
    assert [mask_area(code) for code in codes] == [64, 0, 64]
