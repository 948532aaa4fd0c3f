"""Muon and AdamW as one optimizer."""

import pytest
import torch
from torch import nn

from desa2va.training.optimizers import PairedOptimizer, build_optimizer

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
