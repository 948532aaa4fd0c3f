"""Requests that join and leave a running stream: others do not notice, and nothing of them stays."""

import gc

import numpy as np
import pytest
import torch

STRATEGIES = ["consistent", "per_frame"]
FORMS = ["list", "camera"]


def clip(length=12, seed=0):
    return list(np.random.default_rng(seed).integers(0, 255, (length, 40, 64, 3), np.uint8))


@pytest.fixture(scope="module")
def seeing(make_model):
    """A model that sees what it is asked for."""
    model = make_model(3)
    original = model._decode_pairs

    def decode(features, pairs, prompts):
        kept = original(features, pairs, prompts)
        kept.fused.object_score = torch.full_like(kept.fused.object_score, 3.0)
        return kept

    model._decode_pairs = decode
    return model


def as_form(frames, form):
    return frames if form == "list" else iter(frames)


def opened(model, processor, frames, text, **options):
    options = {"key_frames": "first", "num_key_frames": 1, "max_new_tokens": 2, **options}
    return model.stream(frames, text, processor, **options)


def seen(entry):
    return entry.object_id, entry.code, entry.iou_score, entry.object_score


def of_request(result, number):
    return [entry for entry in result.objects if entry.request == number]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_request_that_joins_has_the_masks_of_a_stream_that_begins_there(seeing, processor, strategy, form):
    """And those that were there keep theirs, and all numbers: nothing but an encoding is shared."""
    options = {"strategy": strategy}
    alone = list(opened(seeing, processor, as_form(clip(), form), "the red circle", **options))
    later = list(opened(seeing, processor, as_form(clip()[4:], form), "the blue square", **options))
    encoded = []
    hook = seeing.segmenter.sam.vision_encoder.register_forward_hook(lambda m, a, o: encoded.append(len(a[0])))
    with opened(seeing, processor, as_form(clip(), form), "the red circle", **options) as stream:
        frames = [next(stream) for _ in range(4)]
        answer = stream.add("the blue square", max_new_tokens=2)
        assert (answer.status, answer.number, stream.answers[-1]) == ("waiting", 1, answer)
        frames += list(stream)
    hook.remove()
    assert sum(encoded) == 12
    assert [result.frame for result in frames] == list(range(12))
    count = len(alone[0].objects)
    assert count
    for result, expected in zip(frames, alone, strict=True):
        assert [seen(entry) for entry in of_request(result, 0)] == [seen(entry) for entry in expected.objects]
    assert all(not of_request(result, 1) for result in frames[:4])
    assert later[0].objects
    for result, expected in zip(frames[4:], later, strict=True):
        mine = of_request(result, 1)
        assert [entry.object_id for entry in mine] == [entry.object_id + count for entry in expected.objects]
        assert [entry.phrase for entry in mine] == [entry.phrase for entry in expected.objects]
        for one, other in zip(mine, expected.objects, strict=True):
            # Frames that were encoded in other batches differ in last bits.
            assert np.mean(one.mask != other.mask) < 1e-3
            np.testing.assert_allclose(one.iou_score, other.iou_score, atol=1e-5)
            np.testing.assert_allclose(one.object_score, other.object_score, atol=1e-5)
    assert (answer.since, answer.objects) == (4, [entry.object_id for entry in of_request(frames[4], 1)])
    assert answer.status == "ok"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_request_that_leaves_is_on_no_further_frame(seeing, processor, strategy, form):
    """Whether it was there from the start or joined; what stays keeps numbers and masks."""
    texts = ["the red circle", "the blue square"]
    alone = list(opened(seeing, processor, as_form(clip(), form), texts, strategy=strategy))
    with opened(seeing, processor, as_form(clip(), form), texts, strategy=strategy) as stream:
        frames = [next(stream) for _ in range(3)]
        stream.add("star", max_new_tokens=2)
        frames += [next(stream) for _ in range(2)]
        stream.withdraw(0)
        frames += [next(stream) for _ in range(2)]
        stream.withdraw(2)
        frames += list(stream)
    assert [result.frame for result in frames] == list(range(12))
    present = [sorted({entry.request for entry in result.objects}) for result in frames]
    assert present == [[0, 1]] * 3 + [[0, 1, 2]] * 2 + [[1, 2]] * 2 + [[1]] * 5
    for result, expected in zip(frames, alone, strict=True):
        for one, other in zip(of_request(result, 1), of_request(expected, 1), strict=True):
            assert one.object_id == other.object_id
            assert np.mean(one.mask != other.mask) < 1e-3
    assert [answer.status for answer in stream.answers] == ["withdrawn", "ok", "withdrawn"]


def held_bytes():
    """Bytes of all tensors alive, each storage once."""
    gc.collect()
    found = [entry for entry in gc.get_objects() if issubclass(type(entry), torch.Tensor)]
    return sum({entry.untyped_storage().data_ptr(): entry.untyped_storage().nbytes() for entry in found}.values())


def bytes_after(stream, first, then, count=3):
    for _ in range(count):
        next(stream)
    first()
    for _ in range(count):
        next(stream)
    then()
    next(stream)
    return held_bytes()


def test_what_a_request_needed_goes_with_it(seeing, processor):
    """Memory of a camera that runs for days, whose requests come and go, must not grow. Looked at on the last frame,
    where nothing is read in advance.
    """

    def run(texts, first, then):
        with opened(seeing, processor, iter(clip(7)), texts) as stream:
            return bytes_after(stream, lambda: first(stream), lambda: then(stream))

    run("the red circle", lambda stream: stream.add("star"), lambda stream: None)  # fills caches
    alone = run("the red circle", lambda stream: None, lambda stream: None)
    joined = run("the red circle", lambda stream: stream.add("star", max_new_tokens=2), lambda stream: None)
    left = run(
        "the red circle",
        lambda stream: stream.add("star", max_new_tokens=2),
        lambda stream: stream.withdraw(1),
    )
    assert joined > alone + 10_000
    assert abs(left - alone) < 5_000
    both = run(["the red circle", "star"], lambda stream: None, lambda stream: None)
    one = run(["the red circle", "star"], lambda stream: None, lambda stream: stream.withdraw(1))
    assert both - one > 10_000


@pytest.mark.parametrize("form", FORMS)
def test_the_last_request_may_leave_and_another_join(seeing, processor, form):
    """Nobody is followed for a while; every frame is handed over all the same, once."""
    later = list(opened(seeing, processor, as_form(clip()[6:], form), "the blue square"))
    with opened(seeing, processor, as_form(clip(), form), "the red circle") as stream:
        frames = [next(stream) for _ in range(3)]
        stream.withdraw(0)
        frames += [next(stream) for _ in range(3)]
        stream.add("the blue square", max_new_tokens=2)
        frames += list(stream)
    assert [result.frame for result in frames] == list(range(12))
    assert all(not result.objects for result in frames[3:6])
    for result, expected in zip(frames[6:], later, strict=True):
        for one, other in zip(result.objects, expected.objects, strict=True):
            assert np.mean(one.mask != other.mask) < 1e-3


@pytest.mark.parametrize("form", FORMS)
def test_a_request_joins_a_stream_without_objects(seeing, processor, form):
    """Its frames are not encoded until somebody asks."""
    with opened(seeing, processor, as_form(clip(), form), "the red circle", task="chat") as stream:
        frames = [next(stream) for _ in range(2)]
        stream.add("the blue square", max_new_tokens=2)
        frames += list(stream)
    assert [bool(result.objects) for result in frames] == [False] * 2 + [True] * 10
    assert [result.frame for result in frames] == list(range(12))


def test_on_the_way_back_nobody_joins(seeing, processor):
    """Frames that have been handed over stay as they are, and a request that never comes must not wait in silence."""
    with opened(seeing, processor, clip(8), "the red circle", key_frames=[3]) as stream:
        frames = [next(stream) for _ in range(2)]
        stream.add("the blue square", max_new_tokens=2)
        frames += [next(stream) for _ in range(3)]
        with pytest.raises(ValueError, match="frame 7 was the last one"):
            stream.add("star")
        frames += list(stream)
    assert [result.frame for result in frames] == [3, 4, 5, 6, 7, 2, 1, 0]
    assert [result.frame for result in frames if of_request(result, 1)] == [5, 6, 7]
    with pytest.raises(ValueError, match="joins on a frame to come"):
        stream.add("star")


def test_what_can_not_join_or_leave_is_named_at_once(seeing, processor):
    """An error on the next frame would end the stream for everybody."""
    with opened(seeing, processor, clip(6), "the red circle") as stream:
        next(stream)
        for wrong, words in (
            ({"text": " "}, "the text of the user is empty"),
            ({"text": ["a", "b"]}, "a request is one sentence"),
            ({"text": "star", "task": "draw"}, "task='draw' is unknown"),
            ({"text": "star", "num_beams": 2}, "num_beams"),
        ):
            with pytest.raises(ValueError, match=words):
                stream.add(**wrong)
        with pytest.raises(ValueError, match="no request 1; the stream follows: 0"):
            stream.withdraw(1)
        stream.withdraw(0)
        with pytest.raises(ValueError, match="no request 0; the stream follows: none"):
            stream.withdraw(0)
        assert len(list(stream)) == 5
    with (
        opened(seeing, processor, clip(6), "the red circle", strategy="memory") as stream,
        pytest.raises(ValueError, match="'memory' looks at frames ahead"),
    ):
        stream.add("star")
