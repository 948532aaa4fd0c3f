"""Drift: by hand, against the closed form, and what a resumed or divided training must find again."""

import pytest
import torch

from desa2va.training.disentangling.drift import FeatureDrift
from desa2va.training.disentangling.feature_queue import FeatureQueue

DIM = 48


def rows(number, seed, offset=0.0, scale=1.0):
    return offset + scale * torch.randn(number, DIM, generator=torch.Generator().manual_seed(seed))


def drift_of(text, visual, horizon=128):
    """The drift after a start of standard Gaussians and many steps of the given features."""
    drift = FeatureDrift(DIM, horizon)
    for step in range(horizon // 8):
        drift.update(rows(8, step), rows(8, 1000 + step))
    for step in range(200):
        drift.update(text(8, 2000 + step), visual(8, 3000 + step))
    return {name: value.item() for name, value in drift.values().items()}


def test_by_hand():
    """Start 0 and 2: mean 1, deviation 1. Later 3 and 3 for good: mean 3, deviation 0, so (4 + 1) / 1."""
    drift = FeatureDrift(1, horizon=2)
    start = torch.tensor([[0.0], [2.0]])
    drift.update(start, start)
    assert [value.item() for value in drift.values().values()] == [0.0, 0.0]
    for _ in range(60):
        drift.update(torch.full((2, 1), 3.0), start)
    values = drift.values()
    assert values["drift_text"].item() == pytest.approx(5.0, abs=1e-3)
    assert values["drift_visual"].item() == pytest.approx(0.0, abs=1e-6)


def test_features_that_stay_do_not_drift_and_each_modality_has_its_own():
    """N(0, 1) to N(2, 1) is 4, to N(0, 3) is (3 - 1)^2 = 4; sampling alone stays under a tenth."""
    still = drift_of(rows, rows)
    assert max(still.values()) < 0.1
    moved = drift_of(lambda n, seed: rows(n, seed, offset=2.0), lambda n, seed: rows(n, seed, scale=3.0))
    assert moved["drift_text"] == pytest.approx(4.0, rel=0.15)
    assert moved["drift_visual"] == pytest.approx(4.0, rel=0.15)


def test_units_of_the_features_do_not_matter():
    """A prompt ten times as large that moves ten times as far has drifted as much."""
    one = drift_of(lambda n, seed: rows(n, seed, offset=1.0), rows)
    drift = FeatureDrift(DIM)
    for step in range(16):
        drift.update(10 * rows(8, step), rows(8, 1000 + step))
    for step in range(200):
        drift.update(10 * rows(8, 2000 + step, offset=1.0), rows(8, 3000 + step))
    assert drift.values()["drift_text"].item() == pytest.approx(one["drift_text"], rel=1e-4)


def test_nothing_is_said_before_the_start_is_known():
    drift = FeatureDrift(DIM, horizon=10)
    drift.update(rows(0, 0), rows(0, 1))
    drift.update(rows(9, 0), rows(9, 1))
    assert drift.values() == {}
    drift.update(rows(1, 2), rows(1, 3))
    assert set(drift.values()) == {"drift_text", "drift_visual"}


def test_it_is_state():
    """A resumed training measures from the first start, not from where it was interrupted."""
    drift, other = FeatureDrift(DIM, horizon=4), FeatureDrift(DIM, horizon=4)
    drift.update(rows(8, 0), rows(8, 1))
    other.load_state_dict(drift.state_dict())
    for one in (drift, other):
        one.update(rows(8, 2, offset=1.0), rows(8, 3))
    assert torch.equal(drift.values()["drift_text"], other.values()["drift_text"])


def measure_divided(rank):
    """What one of two processes sees of four steps, against a drift that sees them whole."""
    whole, part, queue = FeatureDrift(3, horizon=4), FeatureDrift(3, horizon=4), FeatureQueue(0, 3)
    for seed, cut in enumerate((5, 2, 0, 4)):
        text, visual = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(seed))
        whole.update(text, visual)
        mine = slice(cut) if rank == 0 else slice(cut, 5)
        part.update(*queue.push(text[mine], visual[mine]))  # as `AuxiliaryNetworks.remember` does
    for name, value in whole.values().items():
        torch.testing.assert_close(part.values()[name], value)


def test_two_processes_measure_what_one_would(in_two_processes):
    """Steps of 5 objects, divided 5 + 0, 2 + 3, 0 + 5, 4 + 1."""
    in_two_processes(measure_divided)
