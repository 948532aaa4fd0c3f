"""Muon and AdamW as one optimizer."""

import pytest
import torch
from torch import nn

from desa2va.training.optimizers import Muon, PairedOptimizer, build_optimizer, orthogonalised

OPTIONS = {"learning_rate": 1e-2, "weight_decay": 0.1, "betas": (0.9, 0.98)}


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 2))


def optimizer_of(net, **kwargs):
    return build_optimizer(net.named_parameters(), **OPTIONS, muon_learning_rate=0.02, muon_modules=("0.",), **kwargs)


def run(net, optimizer, steps):
    for _ in range(steps):
        optimizer.zero_grad()
        net(torch.ones(3, 4)).square().sum().backward()
        optimizer.step()


def test_matrices_of_the_named_modules_go_to_muon_the_rest_to_adamw():
    net = network()
    optimizer = optimizer_of(net)
    assert isinstance(optimizer, PairedOptimizer)
    muon, decayed, plain = optimizer.param_groups
    assert [id(p) for p in muon["params"]] == [id(net[0].weight)]
    assert [id(p) for p in decayed["params"]] == [id(net[2].weight)]
    assert plain["weight_decay"] == 0
    assert len(plain["params"]) == 4


def test_a_scheduler_scales_both_parts():
    net = network()
    optimizer = optimizer_of(net)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5)
    assert [part.param_groups[0]["lr"] for part in optimizer.parts] == [0.01, 0.005]
    run(net, optimizer, 1)
    scheduler.step()


def test_state_round_trip_continues_bit_for_bit():
    straight, resumed = network(), network()
    first, second = optimizer_of(straight), optimizer_of(resumed)
    run(straight, first, 2)
    run(resumed, second, 2)
    fresh = optimizer_of(resumed)
    fresh.load_state_dict(second.state_dict())
    run(straight, first, 2)
    run(resumed, fresh, 2)
    for a, b in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


def test_nothing_to_train_is_an_error():
    net = network().requires_grad_(False)
    with pytest.raises(ValueError, match="requires a gradient"):
        optimizer_of(net)


def moved_by(optimizer, shape, steps, **options):
    """A matrix after some steps of Muon along fixed gradients."""
    torch.manual_seed(1)
    matrix = nn.Parameter(torch.randn(shape))
    muon = optimizer([matrix], lr=0.1, weight_decay=0.1, **options)
    for _ in range(steps):
        matrix.grad = torch.randn(shape)
        muon.step()
    return matrix.detach()


@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4)])
def test_muon_is_that_of_torch_in_float32(shape):
    """Guards against another momentum, decay or factor of tall matrices than torch's, whose arithmetic is coarser."""
    mine, theirs = moved_by(Muon, shape, 3), moved_by(torch.optim.Muon, shape, 3)
    start = moved_by(Muon, shape, 0)
    assert not torch.equal(mine, theirs)
    torch.testing.assert_close(mine - start, theirs - start, rtol=0, atol=5e-3)


@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4)])
def test_the_iteration_is_that_of_torch(shape):
    """In bfloat16, as on a GPU, bit for bit; in float32 to five digits of float64."""
    torch.manual_seed(0)
    gradient, matrix = torch.randn(shape), nn.Parameter(torch.zeros(shape))
    matrix.grad = gradient.clone()
    torch.optim.Muon([matrix], lr=1.0, weight_decay=0.0, adjust_lr_fn="original").step()
    first = gradient.lerp(torch.zeros(shape).lerp(gradient, 1 - 0.95), 0.95)
    factor = max(1, shape[0] / shape[1]) ** 0.5
    expected = torch.zeros(shape).add_(orthogonalised(first, torch.bfloat16), alpha=-factor)
    assert torch.equal(matrix.detach(), expected)
    exact = orthogonalised(first.double(), torch.float64)
    torch.testing.assert_close(orthogonalised(first, torch.float32), exact.float(), rtol=0, atol=1e-5)


def test_fused_adamw_is_adamw():
    """The same values as torch's plain loop, to rounding."""
    mine, plain = network(), network()
    run(mine, build_optimizer(mine.named_parameters(), **OPTIONS), 5)
    groups = [[p for p in plain.parameters() if p.ndim >= 2], [p for p in plain.parameters() if p.ndim < 2]]
    decays = [{"params": group, "weight_decay": decay} for group, decay in zip(groups, (0.1, 0.0), strict=True)]
    run(plain, torch.optim.AdamW(decays, lr=1e-2, betas=(0.9, 0.98), foreach=False, fused=False), 5)
    for a, b in zip(mine.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)
