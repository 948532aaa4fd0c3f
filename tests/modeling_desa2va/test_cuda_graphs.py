"""Recorded calls without a GPU: the recorder is one that keeps the call, as a graph keeps kernels and addresses."""

import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_flatten

from benchmarks.random_models import clip_encoder, mask_prompts, noise_clip
from desa2va.modeling_desa2va import cuda_graphs
from desa2va.modeling_desa2va.cuda_graphs import EAGER_CALLS, KEPT_GRAPHS, ReplayedNetwork, stop_replaying
from desa2va.modeling_desa2va.tracking import MemoryTracker


@pytest.fixture(autouse=True)
def everywhere(monkeypatch):
    monkeypatch.setattr(cuda_graphs, "_on_gpu", lambda tensor: True)


class Tape:
    """Records a call by keeping it: replayed, it reads its inputs' memory and fills its outputs' memory anew."""

    def __init__(self):
        self.replays = 0

    def __call__(self, call):
        outputs = call()

        def run():
            self.replays += 1
            for held, new in zip(tree_flatten(outputs)[0], tree_flatten(call())[0], strict=True):
                if isinstance(held, torch.Tensor):
                    held.copy_(new)

        return outputs, run


class Sum(nn.Module):
    """What a call does and how often Python ran it."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.runs = 0

    def forward(self, left, *, right=None, scale=1.0):
        self.runs += 1
        return {"sum": (left + (0 if right is None else right)) * self.weight * scale, "scale": scale}


@pytest.fixture
def network():
    return Sum().eval()


@torch.no_grad()
def test_new_inputs_of_a_known_shape_are_replayed(network):
    """Guards against results of the inputs that were recorded, and against results that the next call overwrites."""
    tape = Tape()
    replayed = ReplayedNetwork(network, record=tape)
    inputs = [torch.randn(2, 3) for _ in range(6)]
    found = [replayed(value, right=value + 1, scale=2.0) for value in inputs]
    assert tape.replays == 6 - EAGER_CALLS
    for value, result in zip(inputs, found, strict=True):
        torch.testing.assert_close(result["sum"], (value + (value + 1)) * 2.0, rtol=0, atol=0)
        assert result["scale"] == 2.0


@torch.no_grad()
def test_other_shapes_strides_types_and_options_are_other_graphs(network):
    replayed = ReplayedNetwork(network, record=Tape())
    square = torch.randn(3, 3)
    calls = [(square, 1.0), (square.T, 1.0), (square[:2], 1.0), (square.double(), 1.0), (square, 3.0)]
    for _ in range(EAGER_CALLS + 2):
        for value, scale in calls:
            torch.testing.assert_close(replayed(value, scale=scale)["sum"], value * scale, rtol=0, atol=0)
    assert len(replayed._graphs) == len(calls)


@torch.no_grad()
def test_seldom_shapes_are_not_recorded_and_few_graphs_are_kept(network):
    replayed = ReplayedNetwork(network, record=Tape())
    for length in range(1, KEPT_GRAPHS + 4):
        for _ in range(EAGER_CALLS):
            replayed(torch.randn(length, 3))
    assert not replayed._graphs
    for length in range(1, KEPT_GRAPHS + 4):
        replayed(torch.randn(length, 3))
    assert len(replayed._graphs) == KEPT_GRAPHS


@torch.no_grad()
@pytest.mark.parametrize("autocast", [False, True])
def test_weights_that_change_are_read_anew(autocast):
    """A graph reads memory; what it read must not outlive the weights, nor must a copy in half precision."""
    network = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3)).eval()
    replayed, value = ReplayedNetwork(network, record=Tape()), torch.randn(2, 3)

    def cast():  # what autocast has cast it keeps until its end
        return torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast)

    for _ in range(4):
        with cast():
            before = replayed(value)
    for weight in network.parameters():
        weight.mul_(-2.0).add_(0.5)
    with cast():
        wanted = network._call_impl(value)
    assert not torch.equal(before, wanted)
    for _ in range(4):
        with cast():
            torch.testing.assert_close(replayed(value), wanted, rtol=0, atol=0)


def test_training_and_gradients_pass_by(network):
    tape = Tape()
    replayed = ReplayedNetwork(network, record=tape)
    for _ in range(4):
        replayed(torch.randn(2, 3))["sum"].sum().backward()
    network.train()
    with torch.no_grad():
        for _ in range(4):
            replayed(torch.randn(2, 3))
    assert tape.replays == 0
    assert network.weight.grad.abs().sum() > 0


@torch.no_grad()
def test_inputs_elsewhere_pass_by(network, monkeypatch):
    monkeypatch.setattr(cuda_graphs, "_on_gpu", lambda tensor: tensor.is_cuda)
    tape = Tape()
    replayed = ReplayedNetwork(network, record=tape)
    for _ in range(4):
        replayed(torch.randn(2, 3))
    assert tape.replays == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_tracked_clip_is_the_same(make_model, dtype, monkeypatch):
    """With weights cast once, as with those that autocast casts at every call."""
    model, tape = make_model(seed=1), Tape()
    monkeypatch.setattr(cuda_graphs, "GraphRecorder", lambda: tape)
    segmenter = model.segmenter
    segmenter.set_precision(dtype)

    def walk():
        encode = clip_encoder(segmenter, noise_clip(model, 4))
        prompts = mask_prompts(model, 2)
        return [f.logits for f in MemoryTracker(segmenter).walk(encode, prompts, 12, 2, direction="forward")]

    try:
        usual = walk()
        model.use_cuda_graphs()
        for found, wanted in zip(walk(), usual, strict=True):
            torch.testing.assert_close(found, wanted, rtol=0, atol=0)
        assert tape.replays > 20
        model.drop_cuda_graphs()
        done = tape.replays
        walk()
        assert tape.replays == done
    finally:
        model.drop_cuda_graphs()
        segmenter.set_precision(torch.float32)


def test_a_network_that_is_not_replayed_is_left_alone(network):
    network._compiled_call_impl = compiled = object()
    stop_replaying([network])
    assert network._compiled_call_impl is compiled
