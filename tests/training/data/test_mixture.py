"""Mixtures: exact shares, even visits, determinism, errors."""

import pickle
from collections import Counter

import numpy as np
import pytest

from desa2va.training.data.mixture import Mixture, exact_counts, part_weights


class Part:
    """Samples `(name, number, epoch)`."""

    def __init__(self, name, length):
        self.name, self.length, self.epoch = name, length, 0

    def __len__(self):
        return self.length

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __getitem__(self, index):
        return self.name, index, self.epoch


def read(mixture, epoch=0):
    mixture.set_epoch(epoch)
    return [mixture[index] for index in range(len(mixture))]


def mixture_of(lengths=(7, 50, 3), shares=(5, 2.5, 0.5), length=801, seed=0):
    return Mixture([Part(name, count) for name, count in zip("abc", lengths, strict=True)], shares, length, seed)


def test_shares_are_exact_in_an_epoch_and_in_every_stretch_of_it():
    """They were drawn: 1,000 of 4,000 were 1,000 plus or minus 80, and a rare part missed whole epochs."""
    names = np.array([sample[0] for sample in read(mixture_of())])
    assert Counter(names) == {"a": 501, "b": 250, "c": 50}
    for name, share in zip("abc", (501 / 801, 250 / 801, 50 / 801), strict=True):
        seen = np.cumsum(names == name)
        assert np.abs(seen - share * np.arange(1, 802)).max() < 3


def test_every_sample_of_a_part_comes_equally_often_and_is_drawn_anew():
    """Index i read sample i modulo the length of its part: of those some came often, others never. And each time a
    part was read again within an epoch it drew the same expressions and frames."""
    mixture = mixture_of()
    seen = [sample for epoch in range(3) for sample in read(mixture, epoch)]
    assert len(set(seen)) == len(seen)
    for name, length in zip("abc", (7, 50, 3), strict=True):
        visits = Counter(number for part, number, _ in seen if part == name)
        assert len(visits) == length
        assert max(visits.values()) - min(visits.values()) <= 1


def test_what_an_index_is_does_not_depend_on_who_asks_when():
    """Workers, processes and a resumed run see parts of an epoch, in any order, after any other epoch."""
    whole = read(mixture_of(), epoch=2)
    other = pickle.loads(pickle.dumps(mixture_of()))
    other[5]
    other.set_epoch(2)
    assert [other[index] for index in reversed(range(801))] == whole[::-1]
    assert read(other, 1) != whole
    assert read(mixture_of(seed=1), epoch=2) != whole


def test_batches_of_several_processes_hold_every_part():
    """A fixed rhythm (a, b, a, b) would give one process all of a, the other all of b."""
    names = [sample[0] for sample in read(Mixture([Part("a", 9), Part("b", 9)], [1, 1], 400))]
    for process in range(2):
        assert 60 < names[process::2].count("a") < 140


def test_counts_add_up():
    assert exact_counts([1, 1, 1], 10).tolist() == [4, 3, 3]
    assert exact_counts([0.2, 0.3, 0.5], 7).tolist() == [1, 2, 4]


def test_weights_of_shares_repeats_and_temperature():
    parts = [Part("a", 100), Part("b", 10_000)]
    assert part_weights(parts, [None, 3.0], [None, None]) == [1.0, 3.0]
    assert part_weights(parts, [None, None], [4.0, None]) == [400.0, 10_000.0]
    assert part_weights(parts, [None, None], [1.0, 1.0], temperature=2.0) == [10.0, 100.0]


@pytest.mark.parametrize(
    ("parts", "shares"), [([], []), ([Part("a", 1)], [1, 2]), ([Part("a", 1)], [0]), ([Part("a", 0)], [1])]
)
def test_impossible_mixtures(parts, shares):
    with pytest.raises(ValueError, match="positive share"):
        Mixture(parts, shares, 3)


def test_outside():
    with pytest.raises(IndexError):
        Mixture([Part("a", 1)], [1], 3)[3]
