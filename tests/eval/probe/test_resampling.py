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
