"""The instrument that checks devices on a machine without any must itself find what torch would find."""

import numpy as np
import pytest
import torch
from torch._subclasses import FakeTensorMode

from .logical_devices import LogicalDevices, MixedDeviceError, label_of

OPERATIONS = {
    "sum": lambda near, far: near + far,
    "sum with a scalar of the CPU": lambda near, far: near + far.new_zeros((), device="cpu"),
    "product in place": lambda near, far: near.mul_(far),
    "joined": lambda near, far: torch.cat([near, far]),
    "stacked": lambda near, far: torch.stack([near, far]),
    "chosen": lambda near, far: torch.where(near > 0, near, far),
    "matrix product": lambda near, far: near @ far.T,
    "embedding": lambda near, far: torch.nn.functional.embedding(far[0].long(), near),
    "index of the CPU": lambda near, far: near[torch.tensor([0, 1])],
    "copied over": lambda near, far: near.copy_(far),
    "written": lambda near, far: near.index_put_((torch.tensor([0]),), far[:1]),
    "linear": lambda near, far: torch.nn.functional.linear(near, far),
    "is in": lambda near, far: torch.isin(near, far),
    "loss": lambda near, far: torch.nn.functional.mse_loss(near, far),
    "resized and mixed": lambda near, far: torch.nn.functional.interpolate(near[None, None], (3, 3))[0, 0] + far,
    "made like": lambda near, far: (
        near + torch.zeros_like(near) + near.new_ones(3) + torch.ones_like(near, device="cuda")
    ),
    "made elsewhere": lambda near, far: near + torch.zeros(3, 3),
    "made there": lambda near, far: near + torch.zeros(3, 3, device="cuda"),
}


def verdict(operation, mode, place):
    """Whether `operation` runs with one tensor on `cuda` and one at `place`."""
    with mode:
        near, far = torch.zeros(3, 3, device="cuda"), torch.zeros(3, 3, device=place)
        try:
            operation(near, far)
        except (RuntimeError, ValueError):
            return False
    return True


@pytest.mark.parametrize("place", ["cpu", "cuda"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_verdicts_are_those_of_fake_tensors(name, place):
    """torch's own fake tensors know the rules; they have no values, so no path with a decision runs under them."""
    expected = verdict(OPERATIONS[name], FakeTensorMode(), place)
    assert verdict(OPERATIONS[name], LogicalDevices(), place) == expected


def test_indices_may_be_on_the_cpu_but_not_elsewhere():
    """Fake tensors let the second pass, and have no shape for the first."""
    with LogicalDevices():
        values = torch.zeros(3, 3, device="cuda")
        assert values[torch.tensor([True, False, True])].device == values.device
        with pytest.raises(MixedDeviceError, match="indices"):
            values.cpu()[values[:, 0].long()]


def test_values_views_and_modules_keep_their_device():
    with LogicalDevices():
        layer = torch.nn.Linear(2, 2).to("cuda:1")
        out = layer(torch.ones(1, 2, device="cuda:1"))
        assert out.device == layer.weight[0].device == torch.device("cuda:1")
        assert out.is_cuda
        assert out.cpu().device == torch.device("cpu")
        with pytest.raises(MixedDeviceError, match="linear|addmm"):
            layer(torch.ones(1, 2))
    assert label_of(layer.weight) == torch.device("cuda:1")


def test_gradients_go_back_where_the_tensor_came_from():
    with LogicalDevices():
        weight = torch.ones(3, requires_grad=True)
        (weight.to("cuda") * torch.ones(3, device="cuda")).sum().backward()
        assert weight.grad.device == torch.device("cpu")


def test_numbers_of_a_device_do_not_become_arrays():
    with LogicalDevices():
        values = torch.ones(3, device="cuda")
        with pytest.raises(TypeError, match="can't convert cuda:0"):
            values.numpy()
        with pytest.raises(TypeError, match="can't convert cuda:0"):
            np.asarray(values)
        assert values.tolist() == [1, 1, 1]
        assert values.cpu().numpy().sum() == 3


def test_a_generator_of_the_cpu_draws_nothing_elsewhere():
    with LogicalDevices(), pytest.raises(MixedDeviceError, match="generator"):
        torch.randperm(3, generator=torch.Generator(), device="cuda")
