"""Pictures changed at random: masks with them, and no word made untrue."""

import numpy as np
import pytest

from desa2va.training.data.augmentation import Augmentation
from desa2va.training.data.sample import Conversation, Sample

HEIGHT, WIDTH = 40, 60


def sample_of(text="cup", frames=2, regions=False, where=((12, 18), (30, 41)), **kinds):
    """Frames that are bright where the mask is; a region likewise."""
    rng = np.random.default_rng(0)
    mask = np.zeros((frames, HEIGHT, WIDTH), bool)
    mask[:, where[0][0] : where[0][1], where[1][0] : where[1][1]] = True
    pixels = rng.integers(0, 100, (frames, HEIGHT, WIDTH, 3), dtype=np.uint8)
    pixels[mask] += 120
    talk = Conversation(
        ((f"Please segment the {text}.", "Sure, it is [SEG]."),),
        mask[None],
        (text,),
        regions=mask[:1] if regions else None,
    )
    return Sample(pixels, (talk,), frames > 1, "s", seconds=tuple(map(float, range(frames))))


def seen(augmentation, sample, count=30):
    return [augmentation(sample, np.random.default_rng(seed)) for seed in range(count)]


def aligned(sample):
    (item,) = sample.conversations
    bright = sample.frames.min(axis=-1) >= 120
    return np.array_equal(item.masks[0], bright) and (
        item.regions is None or np.array_equal(item.regions[0], bright[0])
    )


def test_nothing_happens_by_default():
    sample = sample_of()
    assert seen(Augmentation(), sample, 1) == [sample]
    text = Sample(None, (Conversation((("a", "b"),), np.zeros((0, 1, 1, 1), bool)),))
    assert seen(Augmentation(1, 1, 1), text, 1) == [text]


@pytest.mark.parametrize("regions", [False, True])
def test_masks_and_regions_go_with_the_picture(regions):
    """Guards against an offset between picture and mask, which trains a shifted model without an error."""
    sample = sample_of(regions=regions)
    mirrored = seen(Augmentation(flip=1), sample, 1)[0]
    assert np.array_equal(mirrored.frames, sample.frames[:, :, ::-1])
    assert aligned(mirrored)
    changed = seen(Augmentation(flip=0.5, crop=0.8), sample)
    assert all(map(aligned, changed))
    assert len({item.frames.shape for item in changed}) > 10
    assert all(item.seconds == sample.seconds for item in changed)


def test_a_crop_keeps_what_is_asked_for():
    sample = sample_of(where=((0, 3), (55, 60)))
    for item in seen(Augmentation(crop=1), sample, 60):
        assert item.conversations[0].masks.sum() == sample.conversations[0].masks.sum()
        assert item.frames.shape[1] >= HEIGHT / 2
        assert item.frames.shape[2] >= WIDTH / 2
        assert item.conversations[0].masks.shape[2:] == item.frames.shape[1:3]


@pytest.mark.parametrize(
    "text", ["left cup", "Leftmost cup", "cup right of it", "two o'clock", "stop sign", "left-hand cup"]
)
def test_no_mirror_under_left_and_right(text):
    assert all(item is sample for sample in [sample_of(text)] for item in seen(Augmentation(flip=1), sample, 5))
    bright = sample_of("brightest cup")
    assert all(item is not bright for item in seen(Augmentation(flip=1), bright, 5))


@pytest.mark.parametrize("text", ["red cup", "reddish cup", "The DARK cup", "cup of that colour", "blond man"])
def test_no_other_light_under_colours(text):
    sample = sample_of(text)
    assert all(item is sample for item in seen(Augmentation(color=1), sample, 5))


def test_other_light_is_the_same_on_all_frames():
    sample = sample_of(frames=1)
    sample = Sample(np.repeat(sample.frames, 2, 0), sample_of().conversations, True, "s")
    for item in seen(Augmentation(color=1), sample, 5):
        assert not np.array_equal(item.frames, sample.frames)
        assert np.array_equal(item.frames[0], item.frames[1])
        assert item.conversations == sample.conversations


@pytest.mark.parametrize("text", ["top cup", "largest cup", "second cup", "cup next to the man", "cup in the middle"])
def test_no_crop_where_words_compare_with_the_rest(text):
    sample = sample_of(text)
    assert all(item is sample for item in seen(Augmentation(crop=1), sample, 5))


def test_one_sentence_forbids_for_all_and_talk_is_not_cropped():
    """The sentences of a sample share its picture; and what a question is about may be anywhere in it."""
    sample = sample_of()
    question = Conversation((("What is the man doing?", "He sleeps."),), np.zeros((0, 1, 1, 1), bool))
    both = Sample(sample.frames, (*sample.conversations, question), True, "s")
    assert all(item is both for item in seen(Augmentation(crop=1), both, 5))
    answer = Conversation((("What is he doing?", "He turns to the left."),), np.zeros((0, 1, 1, 1), bool))
    both = Sample(sample.frames, (*sample.conversations, answer), True, "s")
    assert all(item is both for item in seen(Augmentation(flip=1), both, 5))


@pytest.mark.parametrize("value", [-0.1, 1.5, True, "often"])
def test_how_often_is_a_share(value):
    with pytest.raises(ValueError, match=r"flip=.* must be a number in \[0, 1\]"):
        Augmentation(flip=value)
