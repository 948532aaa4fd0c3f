"""Which samples the benchmark scores."""

from collections import Counter

import numpy as np

from desa2va.eval.refshapes_samples import apportion, draw_samples
from desa2va.training.data.refshapes.dataset import PICTURE_KINDS, VIDEO_KINDS


def test_apportion():
    """Largest remainders; guards 0.15 * 20 = 3.0000000000000004 and its like, and shares that do not sum to one."""
    assert apportion({"a": 0.5, "b": 0.3, "c": 0.2}, 1000) == {"a": 500, "b": 300, "c": 200}
    assert apportion({"a": 0.5, "b": 0.3, "c": 0.2}, 7) == {"a": 4, "b": 2, "c": 1}
    assert apportion({"a": 5, "b": 3, "c": 2}, 10) == {"a": 5, "b": 3, "c": 2}
    assert apportion({"a": 0.4, "b": 0.3, "c": 0.15, "d": 0.15}, 20) == {"a": 8, "b": 6, "c": 3, "d": 3}
    assert apportion({"a": 1, "b": 1}, 1) == {"a": 1, "b": 0}
    for count in range(40):
        assert sum(apportion(PICTURE_KINDS["full"], count).values()) == count


def test_the_mix_is_that_of_the_level():
    """Few scenes allow a relation; a benchmark that falls back to attributes on the others looks easier than it is."""
    samples = list(draw_samples("test", "standard", 3, PICTURE_KINDS["standard"], 20))
    assert Counter(sample.conversations[0].kind for sample in samples) == {
        "attribute": 10,
        "relation": 6,
        "superlative": 4,
    }
    assert len({sample.name for sample in samples}) == 20
    assert all(len(sample.conversations) == 1 for sample in samples)


def test_videos_have_the_mix_of_their_level():
    samples = list(draw_samples("test", "standard", 0, VIDEO_KINDS["standard"], 7, videos=True))
    assert all(sample.is_video for sample in samples)
    kinds = Counter(sample.conversations[0].kind for sample in samples)
    assert kinds == {"attribute": 3, "motion": 2, "late": 1, "occlusion": 1}


def test_same_arguments_same_samples():
    """A score is only comparable when two runs see the same pixels; another seed must show others."""
    first, again, other = (list(draw_samples("test", "easy", seed, PICTURE_KINDS["easy"], 2)) for seed in (0, 0, 1))
    for one, two, three in zip(first, again, other, strict=True):
        assert np.array_equal(one.frames, two.frames)
        assert one.conversations[0].turns == two.conversations[0].turns
        assert not np.array_equal(one.frames, three.frames)
