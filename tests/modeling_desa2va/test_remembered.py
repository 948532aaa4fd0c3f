"""Encodings that are remembered by their pixels."""

import numpy as np
import pytest
import torch

from desa2va.modeling_desa2va.remembered import EncodingCache, encode_remembered


def counting(calls):
    def encode(pixels):
        calls.append(len(pixels))
        return [pixels * 2, pixels.sum(dim=(1, 2, 3))]

    return encode


def through(cache, kind, pixels, encode):
    """What `encode_remembered` gives while the cache is open."""
    with cache.active(), torch.no_grad():
        return encode_remembered(kind, pixels, encode)


def test_known_rows_are_not_encoded_again_and_equal_rows_once():
    """Two rows swapped, or one encoding given to the wrong picture, would be a mask of another picture."""
    cache, calls = EncodingCache(), []
    pixels = torch.rand(4, 3, 2, 2)
    through(cache, "a", pixels[:2], counting(calls))
    doubled, sums = through(cache, "a", pixels[[3, 1, 3, 2, 0]], counting(calls))
    assert calls == [2, 2]
    assert torch.equal(doubled, pixels[[3, 1, 3, 2, 0]] * 2)
    assert torch.equal(sums, pixels[[3, 1, 3, 2, 0]].sum(dim=(1, 2, 3)))
    assert (cache.encoded, cache.reused) == (4, 3)


def test_another_encoder_and_another_dtype_are_other_encodings():
    """The same bytes mean something else to another encoder."""
    cache, calls = EncodingCache(), []
    for kind, pixels in (("a", torch.zeros(1, 3, 2, 2)), ("b", torch.zeros(1, 3, 2, 2))):
        through(cache, kind, pixels, counting(calls))
    through(cache, "a", torch.zeros(1, 3, 2, 2, dtype=torch.float64)[..., :1], counting(calls))
    assert calls == [1, 1, 1]


def test_what_was_not_used_for_longest_goes_first():
    """A service runs for months; its cache must not."""
    row = torch.zeros(1, 3, 4, 4).nbytes * 2  # both parts of `wide`
    cache = EncodingCache(2 * row)

    def wide(pixels):
        return [pixels, pixels]

    pictures = [torch.full((1, 3, 4, 4), float(value)) for value in range(3)]
    for picture in (pictures[0], pictures[1], pictures[0], pictures[2]):
        through(cache, "a", picture, wide)
    assert cache.num_bytes == 2 * row
    through(cache, "a", pictures[0], wide)  # used in between, so still there
    assert cache.encoded == 3
    through(cache, "a", pictures[1], wide)
    assert cache.encoded == 4
    cache.clear()
    assert cache.num_bytes == 0


def test_nothing_is_remembered_where_gradients_are_wanted_or_no_cache_is_open():
    """An encoding without its graph would teach the encoder nothing, silently."""
    cache, calls = EncodingCache(), []
    pixels = torch.rand(1, 3, 2, 2)
    with cache.active():
        encode_remembered("a", pixels, counting(calls))
    with torch.no_grad():
        encode_remembered("a", pixels, counting(calls))
    assert (cache.encoded, calls) == (0, [1, 1])


def test_a_kept_row_does_not_hold_its_batch():
    """Sixteen pictures would stay in memory for the sake of one."""
    cache = EncodingCache()
    (kept,) = through(cache, "a", torch.rand(1, 3, 2, 2), lambda pixels: [torch.rand(16, 1000)[: len(pixels)]])
    (row,) = next(iter(cache._rows.values()))
    assert row.untyped_storage().nbytes() == row.nbytes == kept.nbytes


@pytest.mark.parametrize("rows", [1, 3])
def test_rows_lie_in_memory_as_the_encoder_laid_them(rows):
    """In another order of the same numbers, convolutions round otherwise: masks were 1e-5 off on some processors."""
    cache, pixels = EncodingCache(), torch.rand(rows, 4, 3, 5)

    def encode(pixels):
        return [pixels.contiguous(memory_format=torch.channels_last), pixels.contiguous()]

    for _ in range(2):
        made = through(cache, "a", pixels, encode)
        assert [part.stride() for part in made] == [part.stride() for part in encode(pixels)]


@pytest.mark.parametrize("question", ["the red circle", "the blue square"])
def test_the_second_question_encodes_nothing_and_has_the_same_masks(question, model, processor, scenes, monkeypatch):
    """The point of it: both encoders rest, and what comes out is what a call without a cache gives."""
    picture = np.asarray(scenes[0].frames[0])
    inputs = processor(images=picture, text=question, task="segment")
    plain = model.generate(**inputs, max_new_tokens=8)
    cache = EncodingCache()
    with cache.active():
        first = processor(images=picture, text="the ring", task="segment")
        model.generate(**first, max_new_tokens=8)
        made = cache.encoded
        monkeypatch.setattr(type(model.segmenter.sam.vision_encoder), "forward", None)
        again = model.generate(**inputs, max_new_tokens=8)
    assert made > 0
    assert cache.encoded == made
    assert torch.equal(plain.sequences, again.sequences)
    for one, other in zip(plain.track_logits, again.track_logits, strict=True):
        assert torch.equal(one, other)
