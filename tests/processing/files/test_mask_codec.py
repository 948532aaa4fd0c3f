import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from desa2va.processing.files import mask_codec
from desa2va.processing.files.mask_codec import (
    above,
    check_code,
    decode_mask,
    empty_code,
    encode_mask,
    logits_to_codes,
    mask_area,
    mask_box,
    mask_iou,
    mask_places,
    unite_masks,
)


def random_mask(size=(7, 11), seed=0):
    return np.random.default_rng(seed).random(size) > 0.5


@pytest.mark.parametrize("mask", [random_mask(), np.zeros((5, 3), bool), np.ones((1, 9), bool), random_mask((9, 1))])
def test_codes_are_exact(mask):
    code = encode_mask(mask)
    np.testing.assert_array_equal(decode_mask(code), mask)
    assert mask_area(code) == mask.sum()
    assert isinstance(code["counts"], str)


@pytest.mark.parametrize("window", [np.s_[3:5, 7:9], np.s_[:, 4:6], np.s_[2:3, :], np.s_[6:7, 10:11], np.s_[:1, :1]])
def test_the_code_of_a_part_of_the_picture_is_that_of_the_whole(window):
    """Only the box around the mask is turned: a wrong place or edge of it would move the mask."""
    mask = np.zeros((7, 11), bool)
    mask[window] = random_mask()[window]
    mask[window][0, 0] = True
    whole = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    for given in (mask, np.asfortranarray(mask), mask.astype(np.uint8), mask[::-1][::-1]):
        assert encode_mask(given) == {"size": [7, 11], "counts": whole["counts"].decode()}


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 1.0])
def test_masks_are_read_as_coco_reads_them(share):
    """Read a column too far, or begun with pixels instead of background, every mask would be another."""
    for size in ((1, 1), (7, 11), (48, 5)):
        mask = np.random.default_rng(1).random(size) < share
        whole = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
        for counts in (whole["counts"], whole["counts"].decode()):
            read = decode_mask({"size": list(size), "counts": counts})
            assert read.dtype == bool
            assert read.flags.writeable
            np.testing.assert_array_equal(read, coco_mask.decode(whole))
        assert empty_code(size) == encode_mask(np.zeros(size, bool))
        assert coco_mask.decode(empty_code(size)).sum() == 0


def test_places_of_pixels_are_those_of_rows_whatever_lies_in_memory():
    mask = random_mask((7, 11))
    for given in (mask, np.asfortranarray(mask), random_mask((9, 13))[1:8, 1:12], random_mask((11, 7)).T):
        assert sorted(mask_places(given)) == np.flatnonzero(np.ascontiguousarray(given)).tolist()


def test_a_threshold_is_compared_as_torch_does():
    """A threshold that 32 bits do not hold, and values on it: both must fall on the same side as before."""
    values = torch.tensor([0.1, 0.1 + 1e-8, 0.1000001, -0.1, float("inf")], requires_grad=True)
    for threshold in (0.1, 0.0, -0.1, 1 / 3):
        np.testing.assert_array_equal(above(values, threshold), (values > threshold).numpy())


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


@pytest.mark.parametrize("size", [(1, 1), (7, 11), (48, 64), (1, 300), (200, 1)])
def test_checking_reads_every_code_that_coco_writes(size):
    """The check reads COCO's text itself; a sign or a difference read wrongly would refuse good masks."""
    from pycocotools import mask as coco_mask

    for seed, share in enumerate((0.0, 0.01, 0.5, 0.99, 1.0)):
        code = encode_mask(np.random.default_rng(seed).random(size) < share)
        counts = coco_mask.frPyObjects({"size": list(size), "counts": [0, size[0] * size[1]]}, *size)
        assert check_code(code, size) == code
        assert check_code({**code, "counts": code["counts"].encode()}) == code
        assert check_code(counts)["counts"].encode() == counts["counts"]


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ("12", "add up to 3, not to 48 x 64"),
        ("", "no run-length code"),
        ("Q", "no run-length code"),  # says that more follow
        ("été", "no run-length code"),
        ("\ud800", "no run-length code"),
        ("o" * 7 + "0", "larger than the picture"),
        ("PPPPPPo00", "larger than the picture"),
        ("Q0O", "add up to"),
        ([], "add up to 0"),
        ([3071], "add up to 3071"),
        ([3073, -1], "integers from 0 to 3072, got 3073"),
        ([-1, 3073], "got -1"),
        ([0.5, 3071.5], "got 0.5"),
        ([float("nan"), 3072], "got nan"),
        ([True, 3071], "got True"),
        ([10**400], "got 1000"),
        (["3072"], "got '3072'"),
        ([None, 3072], "got None"),
        ([[3072]], "got "),
        (None, "text or a list of integers"),
        (3072, "text or a list of integers"),
        ({}, "text or a list of integers"),
    ],
)
def test_counts_that_do_not_fill_the_picture_are_refused(counts, message):
    """`"12"` alone decoded to whatever lay behind it in memory, and uniting it with another mask never returned."""
    code = {"size": [48, 64], "counts": counts}
    for read in (check_code, decode_mask, lambda code: unite_masks([encode_mask(np.ones((48, 64), bool)), code])):
        with pytest.raises(ValueError, match=message):
            read(code)


@pytest.mark.parametrize(
    "size",
    [5, None, [48], [48, 64, 1], "48", [48.0, 64], [True, 64], [0, 64], [-48, -64], [2**20, 2**20], [10**400, 1]],
)
def test_sizes_that_are_none_are_refused(size):
    """Seven terabytes were asked for; `"size": 5` was a TypeError."""
    with pytest.raises(ValueError, match="two positive integers|which is refused"):
        check_code({"size": size, "counts": "12"})


@pytest.mark.parametrize("code", [None, 5, "12", [], {}, {"size": [4, 4]}, {1: 2, "counts": "0"}])
def test_what_is_no_code_is_refused(code):
    with pytest.raises(ValueError, match="a run-length code has 'size' and 'counts'"):
        check_code(code)


def test_codes_of_another_size_are_not_united():
    """pycocotools gives an empty mask then, without a word."""
    with pytest.raises(ValueError, match=r"the code is \[4, 5\] but the picture is \[4, 4\]"):
        unite_masks([encode_mask(np.ones((4, 4), bool)), encode_mask(np.ones((4, 5), bool))])
