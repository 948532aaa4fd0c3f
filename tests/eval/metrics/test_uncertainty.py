"""Standard errors of means and of ratios."""

import numpy as np
import pytest

from desa2va.eval.metrics.uncertainty import mean_with_error, ratio_with_error


def test_error_of_a_mean():
    """Values 1, 2, 3, 4: variance with n-1 is 5/3, error sqrt(5/3/4). Guards the division by n."""
    mean, error = mean_with_error([1, 2, 3, 4])
    assert mean == 2.5
    assert error == pytest.approx((5 / 12) ** 0.5)


def test_jackknife_of_two_units():
    """Units 1/2 and 3/4: ratio 4/6; left-out ratios 3/4 and 1/2, so the error is sqrt(1/2 * 2 * (1/8)^2) = 1/8."""
    ratio, error = ratio_with_error([1, 3], [2, 4])
    assert ratio == pytest.approx(4 / 6)
    assert error == pytest.approx(1 / 8)


def test_jackknife_equals_the_error_of_a_mean_where_all_denominators_are_equal():
    """A ratio with constant denominator is a mean; guards the factor (n-1)/n."""
    values = np.random.default_rng(0).random(50)
    assert ratio_with_error(values, np.ones(50)) == pytest.approx(mean_with_error(values))


def test_jackknife_error_is_that_of_repeated_draws():
    """The error of one set must be about the spread of the ratio over 2,000 sets (200 units each, 20 % tolerance)."""
    rng = np.random.default_rng(1)

    def draw():
        below = rng.integers(100, 1000, 200)
        return below * rng.beta(4, 1, 200), below

    spread = np.std([ratio_with_error(*draw())[0] for _ in range(2000)])
    assert ratio_with_error(*draw())[1] == pytest.approx(spread, rel=0.2)


def test_limiting_cases():
    """One unit has no error; nothing found where nothing was to be found is perfect; no unit at all is an error."""
    assert mean_with_error([0.5]) == (0.5, None)
    assert ratio_with_error([0, 0], [0, 0]) == (1.0, 0.0)
    assert ratio_with_error([0, 2], [0, 4])[0] == 0.5
    with pytest.raises(ValueError, match="at least one value"):
        mean_with_error([])
    with pytest.raises(ValueError, match="1 and 2"):
        ratio_with_error([1], [1, 2])
