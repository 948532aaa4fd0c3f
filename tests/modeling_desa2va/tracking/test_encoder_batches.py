"""Frames per call of the image encoder, and what happens where they do not fit."""

import warnings

import numpy as np
import pytest
import torch

from desa2va.configuration.presets import preset_config, sam_large_config
from desa2va.modeling_desa2va.tracking import encoder_batches
from desa2va.modeling_desa2va.tracking.encoder_batches import (
    MOST_PAIRS,
    BatchedEncoder,
    bytes_per_frame,
    bytes_per_pair,
    pairs_at_once,
)


@pytest.fixture
def crowded(make_model, monkeypatch):
    """A segmenter whose device holds two frames at once, and the sizes of the batches that were tried."""
    segmenter, tried = make_model().segmenter, []
    original = segmenter.encode_frames

    def encode(pixels):
        tried.append(len(pixels))
        if len(pixels) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
        return original(pixels)

    monkeypatch.setattr(segmenter, "encode_frames", encode)
    return segmenter, tried


@torch.no_grad()
def test_out_of_memory_halves_the_batch_once_and_goes_on(crowded):
    """A long video must not die because another program took the memory; nor be told so for every frame."""
    segmenter, tried = crowded
    pixels = torch.randn(7, 3, 128, 128, generator=torch.Generator().manual_seed(1))
    encoder = BatchedEncoder(segmenter, batch_size=5)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        features = encoder(pixels)
        encoder(pixels[:4])
    assert tried == [5, 2, 2, 2, 1, 2, 2]
    assert [str(entry.message) for entry in caught] == [
        "memory ran out while 5 frames were encoded at once; going on with 2"
    ]
    one_by_one = BatchedEncoder(segmenter, batch_size=1)(pixels)
    for name in ("high0", "high1", "low"):
        torch.testing.assert_close(features[name], one_by_one[name], rtol=1e-4, atol=1e-4)


def test_other_errors_and_single_frames_are_not_retried(model, monkeypatch):
    """An endless loop of halving, or a wrong shape reported as a lack of memory."""

    def fail(message, kind):
        def encode(pixels):
            raise kind(message)

        monkeypatch.setattr(model.segmenter, "encode_frames", encode)
        BatchedEncoder(model.segmenter, batch_size=4)(torch.zeros(1, 3, 128, 128))

    with pytest.raises(torch.OutOfMemoryError):
        fail("CUDA out of memory", torch.OutOfMemoryError)
    with pytest.raises(RuntimeError, match="shapes"):
        fail("mat1 and mat2 shapes", RuntimeError)


@pytest.mark.parametrize(("free", "expected"), [(0, 1), (12, 3), (10_000, 4), (None, 4)])
def test_the_batch_follows_free_memory(model, monkeypatch, free, expected):
    """Constants fail on small machines; a batch of zero frames would never end."""
    each = bytes_per_frame(model.segmenter.sam)
    monkeypatch.setattr(encoder_batches, "free_bytes", lambda device: None if free is None else free * each)
    assert BatchedEncoder(model.segmenter).batch_size == expected
    assert BatchedEncoder(model.segmenter, limit=2).batch_size == min(expected, 2)


def test_free_memory_is_known_here(model):
    assert encoder_batches.free_bytes(torch.device("cpu")) > 0
    assert encoder_batches.free_bytes(torch.device("meta")) is None


class Shape:
    """What is read of SAM-2."""

    def __init__(self, config, device="cpu"):
        self.hidden_dim, self.image_size = config.vision_config.fpn_hidden_size, config.image_size
        self.weight = torch.nn.Parameter(torch.zeros(1, device=device))

    def modules(self):
        module = torch.nn.Module()
        module.weight = self.weight
        return [module]


def test_pieces_follow_the_size_of_the_masks(monkeypatch):
    """64 pairs of 1024 pixels at once took 4 GB."""
    large = Shape(sam_large_config())
    assert bytes_per_pair(large) == pytest.approx(67e6, rel=0.01)
    assert 4 <= pairs_at_once(large) <= 6
    assert pairs_at_once(Shape(preset_config("tiny").sam_config)) == MOST_PAIRS
    elsewhere = Shape(sam_large_config(), "meta")
    for free, expected in ((None, MOST_PAIRS), (80e9, MOST_PAIRS), (4e9, 14), (0, 1)):
        monkeypatch.setattr(encoder_batches, "free_bytes", lambda device, free=free: free)
        assert pairs_at_once(elsewhere) == expected


@torch.no_grad()
def test_masks_do_not_depend_on_the_pieces(make_model, processor, monkeypatch):
    """A piece must get its own prompts and frames."""
    model = make_model()
    picture = np.random.default_rng(0).integers(0, 255, (90, 110, 3), dtype=np.uint8)
    inputs = processor(images=picture, text=["the star", "the ring", "the square"], task="segment")
    whole = model.answer_key_frames(**inputs, max_new_tokens=3).visuals[0].masks.logits
    sizes = []
    decode = model.segmenter.decode
    monkeypatch.setattr(model.segmenter, "decode", lambda *a, **k: (sizes.append(len(a[2])), decode(*a, **k))[1])
    monkeypatch.setitem(encoder_batches.PAIR_BYTES, "cpu", 2 * bytes_per_pair(model.segmenter.sam))
    pieces = model.answer_key_frames(**inputs, max_new_tokens=3).visuals[0].masks.logits
    assert set(sizes) == {1, 2}
    torch.testing.assert_close(pieces, whole, rtol=1e-5, atol=1e-4)
