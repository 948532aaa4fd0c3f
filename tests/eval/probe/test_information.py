"""The nearest-neighbour estimator against closed forms."""

import math

import pytest
import torch

from desa2va.eval.probe.information import _subsampling_error, ksg, measure_information, principal_components


def gaussian_pairs(count, width, rho, seed=0):
    """Two (count, width) samples whose columns i correlate with rho: `-width / 2 log(1 - rho^2)` nats."""
    first, noise = torch.randn(2, count, width, generator=torch.Generator().manual_seed(seed)).double()
    return first, rho * first + math.sqrt(1 - rho**2) * noise


@pytest.mark.parametrize("width", [1, 2, 3])
@pytest.mark.parametrize("rho", [0.0, 0.3, 0.6, 0.9])
def test_gaussians_have_their_closed_form(rho, width):
    """An estimator off by a count or a digamma is off by a tenth of a nat. Mean of four samples; many dimensions and
    strong dependence bias a nearest-neighbour estimate downwards."""
    truth = -width / 2 * math.log(1 - rho**2)
    estimates = [ksg(*gaussian_pairs(800, width, rho, seed)) for seed in range(4)]
    assert sum(estimates) / 4 == pytest.approx(truth, abs=0.06 + 0.15 * truth)


@pytest.mark.parametrize("widths", [(1, 1), (2, 3), (5, 5)])
def test_independent_features_share_nothing(widths):
    """Also where the two sides differ in width."""
    draw = torch.Generator().manual_seed(1)
    first, second = (torch.randn(1500, width, generator=draw) for width in widths)
    assert abs(ksg(first, second)) < 0.06


def test_scale_and_monotone_maps_do_not_matter():
    """Mutual information does not know units; the estimator needs the same unit on both sides, not which."""
    first, second = gaussian_pairs(1000, 1, 0.8)
    assert ksg(first, second) == pytest.approx(ksg(1024 * first, 1024 * second + 4096), abs=1e-9)
    assert ksg(first, second) == pytest.approx(ksg(2 * first, second), abs=0.06)
    assert ksg(first, second) == pytest.approx(ksg(first, second.exp()), abs=0.06)


def test_by_hand():
    """Four points, one neighbour. In the maximum norm the nearest are 3, 2, 2 and 6 away; strictly nearer than that
    are 1, 1, 0, 1 others in the first coordinate and 1, 0, 1, 0 in the second; the sum runs over psi(number + 1)."""
    points = torch.tensor([[0.0, 0.0], [1.0, 3.0], [3.0, 1.0], [7.0, 9.0]])
    psi = {1: -0.5772156649, 2: 0.4227843351, 4: 1.2561176684}
    own = {
        "first": [psi[2], psi[2], psi[1], psi[2]],
        "second": [psi[2], psi[1], psi[2], psi[1]],
    }
    expected = psi[1] + psi[4] - sum(own["first"]) / 4 - sum(own["second"]) / 4
    assert ksg(points[:, :1], points[:, 1:], neighbours=1) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("count", [2, 5])
def test_discrete_values_are_counted(count):
    """Exact copies have no distance to the third neighbour; without care the estimate is infinite or nonsense."""
    values = torch.arange(600.0).remainder(count)[:, None]
    assert ksg(values, values) == pytest.approx(math.log(count), abs=0.02)
    other = values[torch.randperm(600, generator=torch.Generator().manual_seed(0))]
    assert abs(ksg(values, other)) < 0.05


def test_discrete_against_continuous():
    """A class and a number that lies in one of two far intervals, chosen by the class: one bit."""
    draw = torch.Generator().manual_seed(0)
    classes = torch.randint(0, 2, (800, 1), generator=draw).double()
    assert ksg(classes, 10 * classes + torch.rand(800, 1, generator=draw)) == pytest.approx(math.log(2), abs=0.05)


def test_rows_in_several_chunks_give_the_same(monkeypatch):
    """The chunk size is about memory."""
    pairs = gaussian_pairs(300, 2, 0.5)
    whole = ksg(*pairs)
    monkeypatch.setattr("desa2va.eval.probe.information._ROWS", 7)
    assert ksg(*pairs) == pytest.approx(whole, abs=1e-12)


def test_too_few_points_and_unpaired_rows():
    with pytest.raises(ValueError, match="more than 3 of them, got 3 and 3"):
        ksg(torch.zeros(3, 1), torch.zeros(3, 1))
    with pytest.raises(ValueError, match="got 10 and 9"):
        ksg(torch.zeros(10, 1), torch.zeros(9, 1))


def test_components_are_whitened_and_ordered():
    """Unit variance each, the largest direction first, a share that grows; never more than there are."""
    rows = torch.randn(400, 3, generator=torch.Generator().manual_seed(0)).double() * torch.tensor([1.0, 5.0, 0.0])
    scores, share = principal_components(rows, 1)
    assert scores.std(correction=0).item() == pytest.approx(1)
    assert abs(torch.corrcoef(torch.stack([scores[:, 0], rows[:, 1]]))[0, 1]) > 0.999
    assert share > 0.9
    scores, share = principal_components(rows, 3)
    assert scores.shape == (400, 2)
    assert share == pytest.approx(1)


def test_report_tells_shared_from_unrelated():
    """Baseline, p and error have to say the same as the estimate; the same seed says the same twice."""
    scene = torch.arange(400) // 2
    first, second = gaussian_pairs(400, 4, 0.8)
    report = measure_information(first, second, scene, 0, (1, 2))
    assert report == measure_information(first, second, scene, 0, (1, 2))
    assert set(report) == {"1", "2"}
    cell = report["2"]
    assert cell["nats"] > cell["shuffled"] + 5 * cell["shuffled_deviation"]
    assert cell["p"] == pytest.approx(1 / 21)
    assert 0 < cell["se"] < 0.2
    unrelated = measure_information(first, gaussian_pairs(400, 4, 0.0, seed=9)[1], scene, 0, (2,))["2"]
    assert abs(unrelated["nats"]) < 4 * unrelated["shuffled_deviation"]


def test_error_is_that_of_repetitions():
    """The deviation over 30 independent samples is what the error of one sample should say."""
    scene = torch.arange(300)
    pairs = [gaussian_pairs(300, 1, 0.7, seed) for seed in range(30)]
    spread = torch.tensor([ksg(*pair) for pair in pairs]).std().item()
    stated = [_subsampling_error(*pair, scene, torch.Generator().manual_seed(0)) for pair in pairs[:8]]
    assert 0.6 < sum(stated) / 8 / spread < 1.6


def test_parts_that_are_too_small_have_no_error():
    """Rather none than one of estimates from six points."""
    assert _subsampling_error(*gaussian_pairs(30, 1, 0.5), torch.arange(30), torch.Generator()) is None
