"""What a training keeps: the same after reading, with nothing in it that could run."""

import pytest
import torch
from safetensors.torch import load_file

from desa2va.training.state_file import find_state, is_whole, read_state, write_state


class Payload:
    """Makes a file as soon as it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def same(one, other):
    """Equal in types, values, and every bit of every tensor."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and one.shape == other.shape and torch.equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


def test_the_state_of_an_optimizer_comes_back(tmp_path):
    """Its keys are integers, its betas a tuple, its steps tensors without a dimension."""
    layer = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW([{"params": [layer.weight], "lr": 1e-3}, {"params": [layer.bias]}], fused=True)
    layer(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    state = {
        "networks": layer.state_dict(),
        "optimizer": optimizer.state_dict(),
        "empty": {},
        "none": torch.empty(0, 4),
    }
    write_state(state, tmp_path / "state.safetensors")
    again = read_state(tmp_path / "state.safetensors")
    assert same(again["optimizer"], state["optimizer"])
    assert same(again, {**state, "networks": dict(state["networks"])})


def test_tensors_lie_under_their_names_and_tied_ones_once(tmp_path):
    """safetensors refuses weights that share memory; a part of a tensor would bring the whole with it."""
    whole = torch.randn(8, 4)
    state = {"embedding": whole, "head": whole, "row": whole[3], "turned": whole.T, "half": whole[0].bfloat16()}
    write_state(state, tmp_path / "state.safetensors")
    assert sorted(load_file(tmp_path / "state.safetensors")) == ["embedding", "half", "row", "turned"]
    assert same(read_state(tmp_path / "state.safetensors"), state)


def test_other_objects_are_not_written(tmp_path):
    with pytest.raises(TypeError, match=r"a\.1 of a state is a set"):
        write_state({"a": [1, {2}]}, tmp_path / "state.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("left", [0, 6, -1])
def test_a_file_that_ends_early_is_told(tmp_path, left):
    path = tmp_path / "state.safetensors"
    write_state({"a": torch.ones(5)}, path)
    assert is_whole(path)
    path.write_bytes(path.read_bytes()[:left])
    assert not is_whole(path)
    with pytest.raises(ValueError, match=r"state\.safetensors is no whole file"):
        read_state(path)


def test_what_an_older_version_wrote_is_read(tmp_path):
    """Such a checkpoint was passed over as incomplete, and removed."""
    state = {"networks": {"a": torch.ones(5)}, "optimizer": {"state": {0: torch.zeros(2)}, "betas": (0.9, 0.999)}}
    torch.save(state, tmp_path / "heads.pt")
    assert find_state(tmp_path, "auxiliary.safetensors") is None
    assert same(read_state(find_state(tmp_path, "heads/heads.safetensors")), state)


def test_a_program_in_an_older_file_is_refused(tmp_path):
    torch.save({"a": torch.ones(5), "more": Payload(tmp_path / "ran")}, tmp_path / "objective.pt")
    with pytest.raises(ValueError, match=r"objective\.pt is not read, since it would run code"):
        read_state(find_state(tmp_path, "objective.safetensors"))
    assert not (tmp_path / "ran").exists()
