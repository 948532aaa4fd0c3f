"""The fresh estimate: closed form on Gaussians, held-out pairs, near duplicates."""

import math

import pytest
import torch

from desa2va.training.disentangling.offline import offline_estimate


def pairs(number, rho, dim=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    h_v, noise = (torch.randn(number, dim, generator=generator) for _ in range(2))
    return h_v, rho * h_v + math.sqrt(1 - rho**2) * noise


@pytest.mark.parametrize(("offset", "scale"), [(0.0, 1.0), (10.0, 0.1)])
@pytest.mark.parametrize("rho", [0.0, 0.6, 0.9])
def test_gaussians(rho, offset, scale):
    """R2 is rho^2 and CLUB rho^2 / (1 - rho^2), whatever offset and scale."""
    figures = offline_estimate(*(offset + scale * rows for rows in pairs(2000, rho)), log_variance_bound=3.0)
    assert figures["club_offline_r2"] == pytest.approx(rho**2, abs=0.03)
    assert figures["club_offline"] == pytest.approx(rho**2 / (1 - rho**2), rel=0.1, abs=0.03)


def test_one_prompt_that_is_the_other_stops_at_the_bound():
    h_v, _ = pairs(512, 0.0)
    assert offline_estimate(h_v, 2 * h_v, 3.0)["club_offline"] == pytest.approx(math.exp(3), rel=0.05)


def test_many_dimensions_of_few_pairs_are_not_fitted_by_heart():
    """Without a held-out half 64 dimensions explain 256 pairs of noise well."""
    assert offline_estimate(*pairs(512, 0.0, dim=64), 3.0)["club_offline_r2"] < 0.02


def test_expressions_about_one_object_do_not_leak():
    """Every object four times in a row, nothing shared: single held-out rows would find their twin."""
    h_v, h_t = (rows.repeat_interleave(4, 0) for rows in pairs(128, 0.0, dim=32))
    assert offline_estimate(h_v, h_t, 3.0)["club_offline_r2"] < 0.05


def test_too_few_pairs_say_nothing():
    assert offline_estimate(*pairs(63, 0.5), 3.0) == {}
