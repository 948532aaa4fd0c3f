"""Fresh discriminators: fair where there is nothing to find, sharp where there is."""

import torch

from desa2va.eval.probe.separability import separability

SCENE = torch.arange(400) // 2
FIT = SCENE % 2 == 0


def draw(seed):
    return torch.randn(400, 8, generator=torch.Generator().manual_seed(seed)).double()


def test_same_source_is_a_coin_toss():
    """A discriminator that is scored on what it learned by heart finds a difference between equals."""
    found = separability(draw(0), draw(1), SCENE, FIT, 0)
    assert abs(found["accuracy"] - 0.5) < 0.1
    assert 0 < found["se"] < 0.05


def test_another_mean_or_another_shape_is_found():
    """Also one that no linear rule finds: the same mean, but signs that go together."""
    offset = torch.tensor([3.0, -3.0]).repeat(4)
    assert separability(draw(0) + offset, draw(1), SCENE, FIT, 0)["accuracy"] > 0.95
    agreeing = draw(0).abs() * draw(1)[:, :1].sign() * offset.sign()
    assert separability(agreeing, draw(2), SCENE, FIT, 0)["accuracy"] > 0.85


def test_same_seed_same_figure_and_the_global_generator_is_left_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first = separability(draw(0), draw(1), SCENE, FIT, 5)
    assert torch.equal(torch.rand(1), expected)
    assert first == separability(draw(0), draw(1), SCENE, FIT, 5)
