"""Running statistics: exact at first, following later, kept in the state, with the gradient of a population."""

import pytest
import torch

from desa2va.training.disentangling.standardisation import HORIZON, RunningStandardisation


def test_first_rows_are_standardised_exactly():
    """However they are cut into steps, a step without rows among them, and whatever their offset."""
    torch.manual_seed(0)
    rows, statistics = 5.0 + 3.0 * torch.randn(60, 4), RunningStandardisation(4)
    assert not statistics.ready
    for part in rows.split([1, 0, 30, 29]):
        statistics.observe(part)
    assert statistics.ready
    standard = statistics(rows)
    torch.testing.assert_close(standard.mean(0), torch.zeros(4), atol=0.2, rtol=0)
    torch.testing.assert_close(standard.var(0, unbiased=False), torch.ones(4), atol=0.25, rtol=0)


@pytest.mark.parametrize("step", [1, 16, 4 * HORIZON])
def test_statistics_follow(step):
    """After a few horizons of other rows, in steps of any size, nothing is left of the first."""
    torch.manual_seed(0)
    statistics = RunningStandardisation(2)
    statistics.observe(100.0 + 10.0 * torch.randn(64, 2))
    rows = torch.randn(20 * HORIZON, 2) - 3.0
    for part in rows.split(step):
        statistics.observe(part)
    torch.testing.assert_close(statistics.mean, torch.full((2,), -3.0), atol=0.3, rtol=0)
    torch.testing.assert_close(statistics.variance, torch.ones(2), atol=0.4, rtol=0)


def test_a_resumed_run_continues_equal():
    torch.manual_seed(0)
    one, other, rows = RunningStandardisation(3), RunningStandardisation(3), torch.randn(20, 3)
    one.observe(rows[:10])
    other.load_state_dict(one.state_dict())
    one.observe(rows[10:])
    other.observe(rows[10:])
    assert torch.equal(one(rows), other(rows))


def test_a_dimension_that_never_moves_stays_finite():
    statistics, rows = RunningStandardisation(3), torch.ones(8, 3)
    statistics.observe(rows)
    assert torch.isfinite(statistics(rows)).all()


def pulled(statistics, rows, force):
    """Gradient at `rows` (N, C) of the mean of `force(standardised)`, whose population the rows themselves are."""
    samples = rows.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(force(statistics(samples)).mean(), samples)
    rows = rows.detach().requires_grad_()
    return torch.autograd.grad(
        force(statistics(rows)).mean() + statistics.pull(rows, samples.detach(), gradient), rows
    )[0]


def test_the_gradient_is_that_of_exact_moments():
    """The rows are the population: plain autograd through their mean and variance is the judge."""
    torch.manual_seed(0)
    rows, statistics = 5.0 + 3.0 * torch.randn(20, 4).double(), RunningStandardisation(4).double()
    statistics.observe(rows)
    weight = torch.randn(4).double()

    def force(standard):
        return (weight * standard).sum(1).tanh() + (0.3 * standard.square()).sum(1).sin()

    exact = rows.clone().requires_grad_()
    standard = (exact - exact.mean(0)) / exact.var(0, unbiased=False).sqrt()
    (expected,) = torch.autograd.grad(force(standard).mean(), exact)
    found = pulled(statistics, rows, force)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found.sum(0), torch.zeros(4).double())
    torch.testing.assert_close((found * (rows - rows.mean(0))).sum(0), torch.zeros(4).double())


def test_the_gradient_adds_up_over_parts_and_has_no_value():
    """Guards against statistics whose gradient knows the rows of one micro-batch: a lone row saw constants."""
    torch.manual_seed(0)
    statistics, samples = RunningStandardisation(3).double(), torch.randn(30, 3).double()
    statistics.observe(samples)
    gradient, rows = torch.randn(30, 3).double(), torch.randn(8, 3).double().requires_grad_()
    whole = statistics.pull(rows, samples, gradient)
    parts = sum(len(part) / 8 * statistics.pull(part, samples, gradient) for part in rows.split([1, 5, 2]))
    assert whole.item() == parts.item() == 0.0
    gradients = [torch.autograd.grad(value, rows)[0] for value in (whole, parts)]
    torch.testing.assert_close(*gradients)
    assert gradients[0][0].abs().sum() > 0
