"""Worse pictures of the same scenes with the same requests."""

import numpy as np
import pytest

from desa2va.training.data.refshapes.corruption import STRENGTHS, corrupt
from desa2va.training.data.refshapes.dataset import RefShapes

KINDS = {"attribute": 1.0, "region": 1.0, "caption": 1.0}


@pytest.fixture(scope="module")
def pictures():
    return [*RefShapes("test", "full", length=12, conversations=3, kinds=KINDS)]


@pytest.mark.parametrize("corruption", STRENGTHS)
def test_scene_and_requests_stay_and_the_damage_is_the_same_every_time(corruption, pictures):
    """Guards differences paired by scene: another request, or fresh noise for every model, and nothing is paired."""
    for sample in pictures:
        before = sample.frames.copy()
        one, two = corrupt(sample, corruption), corrupt(sample, corruption)
        assert np.array_equal(sample.frames, before)
        assert np.array_equal(one.frames, two.frames)
        assert one.frames.dtype == np.uint8
        assert not np.array_equal(one.frames, before)
        assert (one.name, one.scene["objects"]) == (sample.name, sample.scene["objects"])
        assert [c.turns for c in one.conversations] == [c.turns for c in sample.conversations]
        assert [c.labels for c in one.conversations] == [c.labels for c in sample.conversations]


def test_noise_and_darkness_have_their_strength_and_leave_masks_alone(pictures):
    grey = [sample for sample in pictures if 60 < sample.frames.mean() < 190]
    for sample in grey:
        noisy, dark = corrupt(sample, "noise", 10.0), corrupt(sample, "dark", 0.25)
        middle = (sample.frames > 60) & (sample.frames < 190)
        difference = noisy.frames.astype(float) - sample.frames
        assert difference[middle].std() == pytest.approx(10, abs=0.5)
        assert difference[middle].mean() == pytest.approx(0, abs=1)  # pixels are cut to whole numbers
        assert dark.frames.mean() == pytest.approx(0.25 * sample.frames.mean(), abs=1)
        for worse in (noisy, dark):
            for conversation, usual in zip(worse.conversations, sample.conversations, strict=True):
                assert np.array_equal(conversation.masks, usual.masks)
    assert grey


@pytest.mark.parametrize("share", [0.2, 0.4])
def test_bars_hide_every_object_by_their_share_and_no_more(share, pictures):
    """Guards a bar that marks the target by being on it alone, that hides most of a small object, or none of it."""
    directions = set()
    for sample in pictures:
        worse = corrupt(sample, "occlusion", share)
        full, seen = sample.scene["instance_map"][0], worse.scene["instance_map"][0]
        changed = (worse.frames[0] != sample.frames[0]).any(-1)
        assert np.array_equal(seen[seen > 0], full[seen > 0])
        assert len(np.unique(worse.frames[0][(full > 0) & (seen == 0)])) == 1  # one grey
        for number in range(1, len(sample.scene["objects"]) + 1):
            hidden = 1 - (seen == number).sum() / (full == number).sum()
            assert 0.6 * share <= hidden <= share
            assert not changed[seen == number].any()
            rows, columns = np.nonzero((full == number) & (seen == 0))
            directions.add(np.ptp(rows) > np.ptp(columns))
        for conversation in worse.conversations:
            for mask, target in zip(conversation.masks, conversation.targets, strict=True):
                assert np.array_equal(mask[0], seen == target + 1)
            if conversation.regions is not None:
                assert len(np.unique(seen[conversation.regions[0]])) == 1
    assert directions == {True, False}


@pytest.mark.parametrize(
    ("corruption", "strength", "message"),
    [
        ("fog", None, "corruption 'fog' is unknown"),
        ("occlusion", 0.6, r"strength of occlusion must be in \[0, 0.4\]"),
        ("dark", -1.0, "strength of dark"),
    ],
)
def test_bad_damage_is_named(corruption, strength, message, pictures):
    with pytest.raises(ValueError, match=message):
        corrupt(pictures[0], corruption, strength)


def test_videos_are_refused():
    (video,) = RefShapes("test", length=1, video_fraction=1.0, num_frames=2, size=64)
    with pytest.raises(ValueError, match="is a video"):
        corrupt(video, "dark")
