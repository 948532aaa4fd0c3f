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


def test_a_single_row_sees_constants_and_others_do_not_see_themselves():
    """A row that moved its own mean would lose its gradient: all of it where it is alone."""
    torch.manual_seed(0)
    statistics = RunningStandardisation(2).double()
    statistics.observe(torch.randn(50, 2).double())
    row = torch.randn(1, 2).double().requires_grad_()
    (gradient,) = torch.autograd.grad(statistics(row).sum(), row)
    torch.testing.assert_close(gradient, statistics.variance.rsqrt().expand(1, 2))
    rows = torch.randn(3, 2).double().requires_grad_()
    (own,) = torch.autograd.grad(statistics(rows)[0].sum(), rows)
    torch.testing.assert_close(own[0], statistics.variance.rsqrt())
    assert own[1:].abs().sum() > 0
