"""Cosine and debiased CKA against their definitions."""

import pytest
import torch

from desa2va.eval.probe.similarity import cosine, debiased_cka


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def hsic_of_definition(first, second):
    """Song et al. (2012), with the n x n kernels written out."""
    count = len(first)
    kernels = [rows @ rows.T for rows in (first, second)]
    for kernel in kernels:
        kernel.fill_diagonal_(0)
    one, two = kernels
    ones = torch.ones(count).double()
    middle = (ones @ one @ ones) * (ones @ two @ ones) / ((count - 1) * (count - 2))
    return ((one @ two).trace() + middle - 2 / (count - 2) * (ones @ one @ two @ ones)) / (count * (count - 3))


def test_equals_the_definition():
    """The n x n kernels are never formed; the figure has to be the same, offset or not."""
    first, second = draw(30, 4) + 3, draw(30, 6, seed=1)
    second[:, :2] += first[:, :2]
    own = hsic_of_definition(first, first) * hsic_of_definition(second, second)
    assert debiased_cka(first, second) == pytest.approx((hsic_of_definition(first, second) / own.sqrt()).item())


def test_unrelated_features_are_near_zero_even_when_wide():
    """Plain CKA of 60 rows in 100 dimensions calls noise alike at about 0.6."""
    values = [debiased_cka(draw(60, 100, seed=seed), draw(60, 100, seed=seed + 100)) for seed in range(20)]
    assert abs(sum(values) / 20) < 0.05


def test_rotation_and_scale_do_not_matter():
    first = draw(50, 5)
    rotation = torch.linalg.qr(draw(5, 5, seed=1))[0]
    assert debiased_cka(first, 3 * first @ rotation) == pytest.approx(1)


def test_degenerate_input():
    assert debiased_cka(torch.ones(10, 2), draw(10, 2)) == 0.0
    with pytest.raises(ValueError, match="at least four pairs"):
        debiased_cka(draw(3, 2), draw(3, 2))


def test_cosine_before_and_after_centring():
    """Two clouds around the same far point are parallel; what differs from object to object is opposed."""
    difference = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    figures = cosine(100 + difference, 100 - difference)
    assert figures["mean"] > 0.999
    assert figures["centred_mean"] == pytest.approx(-1)
    assert figures["mean_absolute_centred"] == pytest.approx(1)
