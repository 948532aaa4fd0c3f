"""Errors that know that objects of a scene are no independent draws."""

import pytest
import torch

from desa2va.eval.probe.resampling import balanced_accuracy, class_columns, estimate_with_error


def mean(sums):
    return sums[:, 0] / sums[:, 1]


def test_error_is_that_of_scenes_not_of_rows():
    """100 scenes with four equal rows have the error of 100 values, twice that of 400."""
    scene = torch.arange(400) // 4
    values = torch.randn(100, generator=torch.Generator().manual_seed(0)).double()[scene]
    figure, error = estimate_with_error(mean, torch.stack([values, torch.ones(400)], dim=1), scene, 0)
    assert figure == pytest.approx(values.mean().item())
    assert error == pytest.approx(values.std().item() / 10, rel=0.2)


def test_balanced_accuracy_by_hand():
    """Class 0: 2 of 3 right, class 1: 0 of 1, class 2 does not occur: a third."""
    columns = class_columns(torch.tensor([0, 0, 1, 0]), torch.tensor([0, 0, 0, 1]), 3)
    assert balanced_accuracy(columns.sum(dim=0, keepdim=True)).item() == pytest.approx(1 / 3)


def test_resamples_without_a_figure_are_left_out():
    """With few scenes a resample can hold one value only; its NaN must not become the error, nor reach the JSON."""
    scene = torch.arange(10)
    columns = torch.ones(10, 2).double()
    columns[0, 0] = 5.0

    def told(sums):
        return torch.where(sums[:, 0] > sums[:, 1], sums[:, 0] / sums[:, 1], torch.nan)

    figure, error = estimate_with_error(told, columns, scene, 0)
    assert figure == pytest.approx(1.4)
    assert 0 < error < 1
    columns[0, 0] = 1.0
    assert estimate_with_error(lambda sums: sums[:, 0] * torch.nan, columns, scene, 0)[1] is None
