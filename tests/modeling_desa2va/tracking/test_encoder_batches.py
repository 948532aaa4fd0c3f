"""Frames per call of the image encoder, and what happens where they do not fit."""

import warnings

import pytest
import torch

from desa2va.modeling_desa2va.tracking import encoder_batches
from desa2va.modeling_desa2va.tracking.encoder_batches import BatchedEncoder, bytes_per_frame


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
