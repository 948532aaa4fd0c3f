"""Mixtures: shares, determinism, errors."""

import pytest

from desa2va.training.data.mixture import Mixture


def test_shares_are_kept_and_order_is_fixed():
    mixture = Mixture([["a"] * 3, ["b"]], [3, 1], length=4000)
    drawn = [mixture[i] for i in range(len(mixture))]
    # 1000 of 4000 expected, standard deviation 27: five of them.
    assert abs(drawn.count("b") - 1000) < 140
    assert drawn == [mixture[i] for i in range(len(mixture))]
    assert drawn != [Mixture([["a"] * 3, ["b"]], [3, 1], 4000, seed=1)[i] for i in range(4000)]


@pytest.mark.parametrize(("parts", "shares"), [([], []), ([["a"]], [1, 2]), ([["a"]], [0])])
def test_impossible_mixtures(parts, shares):
    with pytest.raises(ValueError, match="positive share"):
        Mixture(parts, shares, 3)


def test_outside():
    with pytest.raises(IndexError):
        Mixture([["a"]], [1], 3)[3]
