"""The CLUB estimator recovers known answers on toys whose information has a closed form."""

import copy
import math
from itertools import combinations

import pytest
import torch

from desa2va.training.disentangling.club import GaussianMixtureCLUB
from desa2va.training.disentangling.standardisation import RunningStandardisation


def fit(club, draw, steps=300):
    """Maximum likelihood on fresh samples; the last steps are small, so the figure does not depend on the stop."""
    optimizer = torch.optim.Adam(club.parameters(), 5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        (-club.log_likelihood(*draw(256)).mean()).backward()
        optimizer.step()
        schedule.step()
    return club


def correlated(dim, rho):
    def draw(number):
        h_v = torch.randn(number, dim)
        return h_v, rho * h_v + math.sqrt(1 - rho**2) * torch.randn(number, dim)

    return draw


def plain(dim, num_components, hidden=32, bound=3.0):
    return GaussianMixtureCLUB(dim, num_components, hidden=hidden, log_variance_bound=bound, standardize=False)


@pytest.mark.parametrize(
    ("dim", "rho", "num_components"), [(1, 0.6, 3), (1, 0.9, 1), (4, 0.3, 1), (4, 0.6, 3), (4, 0.9, 1), (4, 0.9, 3)]
)
def test_correlated_gaussians(dim, rho, num_components):
    """Gaussians of correlation rho: I = -d/2 log(1 - rho^2), and CLUB with the true conditional d rho^2 / (1 - rho^2).

    The estimate lies near the second and above the first. The product term of the queue agrees with all pairs.
    """
    torch.manual_seed(0)
    draw = correlated(dim, rho)
    club = fit(plain(dim, num_components), draw)
    with torch.no_grad():
        h_v, h_t = draw(2000)
        estimate = club.mutual_information(h_v, h_t).item()
        other_v, other_t = draw(2000)
        queued = club.mutual_information(h_v, h_t, (other_t, other_v)).item()
    assert estimate > -dim / 2 * math.log(1 - rho**2)
    assert estimate == pytest.approx(dim * rho**2 / (1 - rho**2), rel=0.15)
    assert queued == pytest.approx(estimate, rel=0.05)


@pytest.mark.parametrize("num_components", [1, 3])
def test_independent_features_carry_nothing(num_components):
    torch.manual_seed(0)
    draw = correlated(4, 0.0)
    club = fit(plain(4, num_components), draw, steps=200)
    with torch.no_grad():
        assert club.mutual_information(*draw(2000)).item() == pytest.approx(0.0, abs=0.05)


def three_modes(number):
    """h_t is -1, 0 or 1 times a direction that h_v chooses, plus noise of 0.2: three modes for every h_v."""
    h_v = torch.randn(number, 2)
    direction = torch.where(h_v[:, :1] > 0, torch.tensor([2.0, 2.0]), torch.tensor([2.0, -2.0]))
    mode = torch.randint(-1, 2, (number, 1)).float()
    return h_v, mode * direction + 0.2 * torch.randn(number, 2)


def test_a_mixture_fits_what_one_gaussian_cannot():
    """True NLL: 2 (log(2 pi e) / 2 + log 0.2) + log 3 = 0.718 nats. One Gaussian covers three modes with one lump."""
    true_nll = math.log(2 * math.pi * math.e) + 2 * math.log(0.2) + math.log(3)
    nll = {}
    for num_components in (1, 3):
        torch.manual_seed(0)
        club = fit(plain(2, num_components, bound=4.0), three_modes, steps=500)
        with torch.no_grad():
            nll[num_components] = -club.log_likelihood(*three_modes(4000)).mean().item()
    assert nll[3] < true_nll + 0.35
    assert nll[1] > nll[3] + 1.0


def test_log_likelihood_by_hand():
    """All weights zero: a standard normal, so log q = -(C log 2 pi + |h_t|^2) / 2 whatever h_v."""
    club = plain(2, 1)
    for parameter in club.parameters():
        torch.nn.init.zeros_(parameter)
    value = club.log_likelihood(torch.randn(1, 2), torch.tensor([[1.0, 2.0]]))
    assert value.item() == pytest.approx(-(2 * math.log(2 * math.pi) + 5) / 2, abs=1e-5)


@pytest.mark.parametrize("standardize", [True, False])
def test_pairwise_agrees_with_pairs(standardize):
    """The all-pairs form expands the square to save memory; its diagonal is the plain form."""
    torch.manual_seed(0)
    club = GaussianMixtureCLUB(6, 3, standardize=standardize).double()
    h_v, h_t = 3 + torch.randn(5, 6).double(), torch.randn(5, 6).double()
    club.observe(h_v, h_t)
    torch.testing.assert_close(club.pairwise_log_likelihood(h_v, h_t).diagonal(), club.log_likelihood(h_v, h_t))
    one = club.log_likelihood(h_v[2:3], h_t[4:5])
    torch.testing.assert_close(club.pairwise_log_likelihood(h_v, h_t)[2, 4], one[0])


def test_pairs_of_one_object_are_no_sample_of_the_product():
    """Two objects: (q00 + q11 - q01 - q10) / 2. With i = j in the product the estimate would be half of it."""
    torch.manual_seed(0)
    club = plain(6, 3).double()
    h_v, h_t = torch.randn(2, 6).double(), torch.randn(2, 6).double()
    q = club.pairwise_log_likelihood(h_v, h_t)
    torch.testing.assert_close(club.mutual_information(h_v, h_t), (q[0, 0] + q[1, 1] - q[0, 1] - q[1, 0]) / 2)


def test_density_integrates_to_one():
    """A lost mixture weight or variance term would still train, but the figure would not be a likelihood."""
    torch.manual_seed(0)
    club = plain(1, 3)
    grid = torch.linspace(-30, 30, 6001)[:, None]
    mass = club.pairwise_log_likelihood(torch.randn(3, 1), grid).exp().sum(1) * 0.01
    torch.testing.assert_close(mass, torch.ones(3), atol=1e-3, rtol=0)


def test_log_variance_is_bounded():
    """h_t = f(h_v) exactly: without the tanh bound the log-variance runs to minus infinity and the loss with it."""
    torch.manual_seed(0)
    club = plain(4, 1, bound=1.0)

    def draw(number):
        h_v = torch.randn(number, 4)
        return h_v, h_v

    fit(club, draw, steps=200)
    log_variance = club.conditional(draw(64)[0])[2]
    assert log_variance.min() >= -1.0
    assert log_variance.mean() < -0.8
    assert -club.log_likelihood(*draw(64)).mean() / 4 >= (math.log(2 * math.pi) - 1) / 2


@pytest.fixture(scope="module", params=[1, 3], ids=["K=1", "K=3"])
def fitted_to_nine_tenths(request):
    """The default q, fitted to standard Gaussians of correlation .9 in four dimensions."""
    torch.manual_seed(0)
    draw, club = correlated(4, 0.9), GaussianMixtureCLUB(4, request.param, hidden=32)
    club.observe(*draw(4000))
    return fit(club, draw), draw


@pytest.mark.parametrize("offset", [0.0, 1.0, 3.0, 10.0])
@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
def test_estimate_is_that_of_the_closed_form_whatever_offset_and_scale(fitted_to_nine_tenths, offset, scale):
    """Guards against features that hide: rho .9 is rho^2 / (1 - rho^2) = 4.26 nats per dimension, always.

    With a LayerNorm offsets of 0 / 1 / 3 / 10 deviations gave 1.95 / 1.18 / .145 / .001, and a log-variance bound of 1
    does not reach log .19 = -1.66.
    """
    club, draw = copy.deepcopy(fitted_to_nine_tenths[0]), fitted_to_nine_tenths[1]
    torch.manual_seed(1)
    move = scale * (offset * torch.tensor([1.0, -1.0, 1.0, 1.0]))
    for _ in range(50):  # the statistics follow
        club.observe(*(move + scale * rows for rows in draw(128)))
    with torch.no_grad():
        estimate = club.mutual_information(*(move + scale * rows for rows in draw(2000))).item() / 4
    assert estimate == pytest.approx(0.81 / 0.19, rel=0.2)
    assert estimate > -0.5 * math.log(0.19)


def without_pull(self, rows, remembered, gradient):
    """In place of `RunningStandardisation.pull`: statistics are constants."""
    return rows.new_zeros(())


def scale_and_shift_gradient(club, draw, rows, moved):
    """Gradient of the estimate with regard to a common scale and shift of one side, mean over small batches."""
    total, batches = torch.zeros(2, 4), 320 // rows
    for _ in range(batches):
        scale, shift = torch.ones(4, requires_grad=True), torch.zeros(4, requires_grad=True)
        pair, remembered = list(draw(rows)), draw(256)
        pair[moved] = scale * pair[moved] + shift
        estimate = club.mutual_information(*pair, remembered[::-1])
        total += torch.stack(torch.autograd.grad(estimate, (scale, shift)))
    return (total / batches).abs().mean(1)


@pytest.mark.parametrize("moved", [0, 1], ids=["h_v", "h_t"])
@pytest.mark.parametrize("rows", [1, 8])
def test_a_common_scale_or_shift_receives_no_force(fitted_to_nine_tenths, monkeypatch, rows, moved):
    """Constants in place of the statistics' gradient would pay the model for shrinking ahead of the statistics.

    In expectation, also where every row comes alone.
    """
    club, draw = fitted_to_nine_tenths
    torch.manual_seed(2)
    scale, shift = scale_and_shift_gradient(club, draw, rows, moved)
    monkeypatch.setattr(RunningStandardisation, "pull", without_pull)
    shrinking, _ = scale_and_shift_gradient(club, draw, rows, moved)
    assert shrinking > 3.0
    assert scale < 0.25 * shrinking
    assert shift < 0.25 * shrinking


def test_minimising_the_estimate_removes_dependence():
    """The weight w of h_t = w h_v + noise goes to zero under the gradient of the estimate, q refitted in turn."""
    torch.manual_seed(0)
    club = plain(8, 1, hidden=16, bound=1.0)
    weight = torch.tensor(1.5, requires_grad=True)
    fitting, mixing = torch.optim.Adam(club.parameters(), 5e-3), torch.optim.Adam([weight], 2e-2)
    for _ in range(300):
        h_v = torch.randn(128, 8)
        h_t = weight * h_v + torch.randn(128, 8)
        for _ in range(4):
            fitting.zero_grad()
            (-club.log_likelihood(h_v, h_t.detach()).mean()).backward()
            fitting.step()
        mixing.zero_grad()
        club.mutual_information(h_v, h_t).backward()
        mixing.step()
    assert abs(weight.item()) < 0.2


def two_maps(number=40, dim=4, seed=0):
    """Maps (2, dim, dim) with gradient and states (number, dim), of which h_v and h_t are the two linear maps."""
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randn(2, dim, dim, dtype=torch.float64, generator=generator).requires_grad_()
    return maps, torch.randn(number, dim, dtype=torch.float64, generator=generator)


def equation_six(club, h_v, h_t):
    """Eq. 6 of a finite population: its pairs are the joint distribution, all of its combinations the product."""
    return club.log_likelihood(h_v, h_t).mean() - club.pairwise_log_likelihood(h_v, h_t).mean()


@pytest.mark.parametrize("num_components", [1, 3])
def test_value_and_gradient_with_negatives_are_those_of_equation_six(num_components):
    """Guards against half of the product's gradient: a mean of two halves, each with one detached side.

    The queue holds the population itself, so Eq. 6 has no sampling error, and its finite differences are the judge.
    """
    torch.manual_seed(0)
    club = plain(4, num_components).double()
    maps, inputs = two_maps()
    h_v, h_t = inputs @ maps[0], inputs @ maps[1]
    estimate = club.mutual_information(h_v, h_t, (h_t.detach(), h_v.detach()))
    (gradient,) = torch.autograd.grad(estimate, maps)
    torch.testing.assert_close(estimate, equation_six(club, h_v, h_t))
    step, differences = 1e-5, torch.zeros_like(maps)
    for place in range(maps.numel()):
        moved = []
        for sign in (1, -1):
            other = maps.detach().clone()
            other.view(-1)[place] += sign * step
            moved.append(equation_six(club, inputs @ other[0], inputs @ other[1]).item())
        differences.view(-1)[place] = (moved[0] - moved[1]) / (2 * step)
    torch.testing.assert_close(gradient, differences, rtol=1e-5, atol=1e-7)


def standardised_equation_six(club, maps, inputs):
    """Eq. 6 of a population with its exact moments, which move with the maps."""
    sides = [inputs @ one for one in maps]
    return equation_six(club, *((rows - rows.mean(0)) / rows.std(0, unbiased=False) for rows in sides))


def test_lone_rows_have_the_gradient_of_equation_six_through_the_statistics(monkeypatch):
    """Each of 200 objects comes alone, all are remembered: the mean of their gradients is that of Eq. 6 with exact
    moments, but for 1 / 200. Rows that see the statistics as constants are far off.
    """
    torch.manual_seed(0)
    club = GaussianMixtureCLUB(4, 2).double()
    torch.nn.init.normal_(club.linear.weight, std=0.5)
    maps, inputs = two_maps(200)
    remembered = [(inputs @ one).detach() for one in maps]
    for statistics, rows in zip((club.visual_statistics, club.text_statistics), remembered, strict=True):
        statistics.mean.copy_(rows.mean(0))
        statistics.variance.copy_(rows.var(0, unbiased=False))
        statistics.count.fill_(200)
    plain_club = copy.deepcopy(club)
    plain_club.visual_statistics = plain_club.text_statistics = None
    expected = torch.autograd.grad(standardised_equation_six(plain_club, maps, inputs), maps)[0]

    def apart():
        lone = [
            club.mutual_information(state @ maps[0], state @ maps[1], (remembered[1], remembered[0]))
            for state in inputs.split(1)
        ]
        found = torch.autograd.grad(sum(lone) / len(lone), maps)[0]
        return ((found - expected).norm() / expected.norm()).item()

    assert apart() < 0.02
    monkeypatch.setattr(RunningStandardisation, "pull", without_pull)
    assert apart() > 0.2


def test_gradient_of_batches_is_that_of_all_pairs_in_expectation():
    """All batches of three out of five objects, i != j: their mean is the estimate of the five, value and gradient."""
    torch.manual_seed(0)
    club, (maps, inputs) = plain(4, 2).double(), two_maps(5)
    h_v, h_t = inputs @ maps[0], inputs @ maps[1]
    batches = list(combinations(range(5), 3))
    mean = sum(club.mutual_information(h_v[list(batch)], h_t[list(batch)]) for batch in batches) / len(batches)
    whole = club.mutual_information(h_v, h_t)
    torch.testing.assert_close(mean, whole)
    torch.testing.assert_close(*(torch.autograd.grad(value, maps, retain_graph=True)[0] for value in (mean, whole)))


@pytest.mark.parametrize("number", [1, 6])
def test_no_force_between_independent_features(number):
    """Where q is the true conditional of independent features it ignores h_v, and nothing may move either of them.

    Holds sample by sample: joint and product term pull at h_t alike. Half of a product term left h_t / 2 of force.
    """
    torch.manual_seed(0)
    club = plain(4, 1)
    for parameter in club.parameters():
        torch.nn.init.zeros_(parameter)  # a standard normal
    h_v, h_t = (torch.randn(number, 4, requires_grad=True) for _ in range(2))
    club.mutual_information(h_v, h_t, (torch.randn(7, 4), torch.randn(7, 4))).backward()
    torch.testing.assert_close(h_t.grad, torch.zeros_like(h_t), atol=1e-6, rtol=0)
    torch.testing.assert_close(h_v.grad, torch.zeros_like(h_v), atol=1e-6, rtol=0)


def test_gradient_reaches_both_features_with_negatives():
    torch.manual_seed(0)
    club = plain(4, 3)
    h_v, h_t = (torch.randn(1, 4, requires_grad=True) for _ in range(2))
    club.mutual_information(h_v, h_t, (torch.randn(7, 4), torch.randn(7, 4))).backward()
    assert h_v.grad.abs().sum() > 0
    assert h_t.grad.abs().sum() > 0


@pytest.mark.parametrize("number", [0, 1])
def test_too_few_objects_give_a_connected_zero(number):
    h_v, h_t = (torch.randn(number, 4, requires_grad=True) for _ in range(2))
    value = plain(4, 3).mutual_information(h_v, h_t)
    value.backward()
    assert value.item() == 0.0
    assert h_v.grad.abs().sum() == 0


def test_autocast_does_not_lower_the_precision():
    torch.manual_seed(0)
    club = plain(16, 3)
    h_v, h_t = torch.randn(8, 16), torch.randn(8, 16)
    plain_value = club.mutual_information(h_v, h_t)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(club.mutual_information(h_v, h_t), plain_value)
        assert club.mutual_information(h_v.bfloat16(), h_t.bfloat16()).dtype == torch.float32


def test_invalid_numbers_are_named():
    with pytest.raises(ValueError, match="num_components"):
        GaussianMixtureCLUB(4, 0)
