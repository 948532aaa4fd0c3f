"""Discriminators: their targets, the gradient penalty against closed form and autograd, and what handicaps them."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from desa2va.training.disentangling.discriminators import Discriminator

DIM = 6


def plain(**options):
    torch.manual_seed(0)
    return Discriminator(DIM, **{"spectral_norm": False, "instance_noise": 0.0, **options})


def penalty(discriminator, real, other):
    """What the penalty adds to the loss."""
    weight, with_it = discriminator.gradient_penalty, discriminator.training_loss(real, other)
    discriminator.gradient_penalty = 0.0
    without = discriminator.training_loss(real, other)
    discriminator.gradient_penalty = weight
    return with_it - without


class Given(nn.Module):
    """A network whose logit is the first coordinate of what it sees."""

    def forward(self, seen):
        return seen[:, :1]


def logit_gradients(answer, logits):
    """Slope of `loss(..., answer)` in the logit, where the discriminator says `logits`."""
    discriminator = plain(label_smoothing=0.1)
    discriminator._seen, discriminator.network = (lambda features: features), Given()
    rows = F.pad(logits[:, None], (0, DIM - 1)).requires_grad_()
    return torch.autograd.grad(discriminator.loss(rows, answer, normaliser=1), rows)[0][:, 0]


def test_the_sign_of_the_game_does_not_depend_on_the_logit():
    """With a smoothed fake target .05 the slope sigmoid(x) - .05 changes its sign at -2.94, and the reversed gradient
    pushed features away from the real ones. Unsmoothed: sigmoid(x) for "not real", sigmoid(x) - 1 for "real".
    """
    logits = torch.tensor([-8.0, -4.0, -3.0, -2.9, 0.0, 3.0, 8.0])
    torch.testing.assert_close(logit_gradients(False, logits), logits.sigmoid())
    torch.testing.assert_close(logit_gradients(True, logits), logits.sigmoid() - 1)
    assert (logit_gradients(False, logits) > 0).all()
    assert (logit_gradients(True, logits) < 0).all()


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_only_real_features_have_a_smoothed_target(smoothing):
    """Constant logits x of real and y of others: the least loss is at x = log((1 - s) / s) and at y = -infinity."""
    discriminator = plain(label_smoothing=smoothing)
    discriminator._seen, discriminator.network = (lambda features: features), Given()
    place = 1.3 if smoothing == 0 else torch.tensor((1 - smoothing) / smoothing).log().item()
    rows = [torch.full((4, DIM), value, requires_grad=True) for value in (place, -7.0)]
    real, other = torch.autograd.grad(discriminator.training_loss(*rows), rows)
    expected = torch.tensor(place).sigmoid() - (1 - smoothing)
    torch.testing.assert_close(real[:, 0], (expected / 4).expand(4))
    assert (other[:, 0] > 0).all()


def test_a_discriminator_that_knows_a_little_is_no_chance():
    """Real targets of .8 put "equally likely" at log(.8 / 1.2) = -.41: judged at 0, logits of -.3 and -.5 read .5."""
    discriminator = plain(label_smoothing=0.2)
    discriminator._seen, discriminator.network = (lambda features: features), Given()
    rows = [torch.full((4, DIM), value) for value in (-0.3, -0.5)]
    assert discriminator.accuracy(*rows).item() == 1.0
    assert discriminator.accuracy(*rows[::-1]).item() == 0.0


def test_penalty_of_a_linear_discriminator():
    """logit = w . x + b has the gradient w everywhere: R1 is |w|^2 / 2, whatever the rows and however many."""
    discriminator = plain(gradient_penalty=3.0)
    discriminator.network = nn.Sequential(nn.Linear(DIM, 1))
    weight = discriminator.network[0].weight
    for number in (1, 7):
        value = penalty(discriminator, torch.randn(number, DIM), torch.randn(3, DIM))
        torch.testing.assert_close(value, 1.5 * weight.square().sum())
    (slope,) = torch.autograd.grad(value, weight)
    torch.testing.assert_close(slope, 3.0 * weight)


def test_penalty_against_one_row_at_a_time():
    """A gradient of the mean in place of the sum would shrink the penalty by the square of the batch."""
    discriminator, real = plain(gradient_penalty=2.0), torch.randn(5, DIM)
    expected = 0.0
    for row in F.layer_norm(real, (DIM,)):
        slope = torch.autograd.functional.jacobian(lambda x: discriminator.network(x).sum(), row)
        expected += slope.square().sum() / len(real)
    torch.testing.assert_close(penalty(discriminator, real, torch.randn(2, DIM)), expected)


def test_penalty_reaches_every_weight_through_spectral_norm():
    discriminator = Discriminator(DIM, gradient_penalty=1.0)
    discriminator.training_loss(torch.randn(4, DIM), torch.randn(4, DIM)).backward()
    for name, parameter in discriminator.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_penalty_keeps_the_logits_of_separable_features_low():
    """The point of it: without, the winner's logits grow for as long as it trains."""
    logits = []
    for weight in (0.0, 10.0):
        discriminator = plain(gradient_penalty=weight, label_smoothing=0.0)
        optimizer = torch.optim.Adam(discriminator.parameters(), 1e-2)
        real, other = torch.arange(DIM) + 0.1 * torch.randn(32, DIM), -torch.arange(DIM) + 0.1 * torch.randn(32, DIM)
        for _ in range(60):
            optimizer.zero_grad()
            discriminator.training_loss(real, other).backward()
            optimizer.step()
        logits.append(discriminator(real).mean().item())
    assert logits[1] < 0.5 * logits[0]


@pytest.mark.parametrize(("real", "other"), [(0, 3), (3, 0), (0, 0)])
def test_a_missing_class_teaches_nothing(real, other):
    discriminator = plain(gradient_penalty=1.0)
    loss = discriminator.training_loss(torch.zeros(real, DIM), torch.zeros(other, DIM))
    loss.backward()
    assert loss.item() == 0.0
    assert all(torch.count_nonzero(parameter.grad) == 0 for parameter in discriminator.parameters())


def test_negative_weight_is_named():
    with pytest.raises(ValueError, match="-1"):
        plain(gradient_penalty=-1)
