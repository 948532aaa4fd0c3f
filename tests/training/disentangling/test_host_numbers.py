"""Numbers that the host knows: equal to the buffers, and no look at the device in a step."""

import pytest
import torch

from desa2va.training.disentangling.auxiliary import FEATURES, AuxiliaryNetworks
from desa2va.training.disentangling.host_numbers import HostNumbers
from tests.training.host_reads import Reads

DIM = 8
COUNTED = ("steps", "queue.filled", "queue.position", "club.text_statistics.count", "drift.seen")


def step(networks, seed):
    """What a trainer asks of them between two logs."""
    generator = torch.Generator().manual_seed(seed)
    features = {name: torch.randn(7, DIM, generator=generator).requires_grad_() for name in FEATURES}
    sum(networks.model_terms(features).values()).backward()
    sum(networks.update_terms(features).values()).backward()
    networks.club_update(features).backward()
    networks.remember({name: value.detach() for name, value in features.items()})


@pytest.fixture
def networks():
    torch.manual_seed(0)
    networks = AuxiliaryNetworks(DIM, queue_size=16, club_start=2)
    for seed in range(4):
        step(networks, seed)
    return networks


def test_a_step_reads_nothing_from_the_device(networks):
    """Some seventy reads a step, each of which a GPU stood still for."""
    with Reads() as reads:
        assert float(torch.ones(())) == 1.0
    assert reads.count == 1
    with Reads() as reads:
        step(networks, 4)
    assert reads.count == 0


def test_the_buffers_hold_what_the_host_knows(networks):
    """They are what a checkpoint has."""
    state = networks.state_dict()
    assert [state[name].item() for name in COUNTED] == [4, 16, 12, 28, 28.0]
    modules = [module for module in networks.modules() if isinstance(module, HostNumbers)]
    known = [(getattr(module, name).item(), value) for module in modules for name, value in module._numbers.items()]
    assert len(known) == 6
    assert all(buffer == value for buffer, value in known)


def test_a_loaded_state_is_read_anew(networks):
    """A resumed training would go on with the counts of the networks it was made with."""
    fresh = AuxiliaryNetworks(DIM, queue_size=16, club_start=2)
    step(fresh, 9)
    fresh.load_state_dict(networks.state_dict())
    for one in (fresh, networks):
        torch.manual_seed(1)
        step(one, 5)
    other = networks.state_dict()
    for name in ("queue.rows", *COUNTED):
        assert torch.equal(fresh.state_dict()[name], other[name])
