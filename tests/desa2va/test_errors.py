"""What an error leaves in memory."""

import gc
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

import desa2va
from desa2va.errors import memory_freed
from tests.desa2va.conftest import reachable


def lose(tensors):
    tensors.pop(sorted(tensors)[0])


def poison(tensors):
    next(iter(tensors.values())).view(-1)[0] = torch.nan


@pytest.mark.parametrize(
    ("damage", "message"), [(lose, "lacks weights of the model"), (poison, "weights are no finite numbers")]
)
def test_a_refused_model_of_ours_is_let_go(damage, message, saved_model, tmp_path):
    """A notebook keeps the last error, and its traceback kept the refused model: there was no memory for the next."""
    folder = shutil.copytree(saved_model, tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    damage(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    del tensors
    gc.collect()
    before = reachable()
    with pytest.raises(ValueError, match=message) as kept:
        desa2va.load(folder, device="cpu")
    assert reachable() == before
    assert kept.value.__traceback__ is not None


def test_causes_are_let_go_and_the_callers_own_error_is_left_alone():
    """Of an error that was raised from another both hold frames; what the caller was handling is not ours to clear."""

    def fail(name, cause=None):
        held = torch.zeros(3)
        raise ValueError(name, held.shape) from cause

    @memory_freed()
    def load():
        try:
            fail("inner")
        except ValueError as error:
            fail("outer", error)

    def frames(error):
        step = error.__traceback__
        while step is not None:
            yield step.tb_frame
            step = step.tb_next

    def holds(error):
        return any("held" in frame.f_locals for frame in frames(error))

    try:
        fail("mine")
    except ValueError as mine:
        with pytest.raises(ValueError, match="outer") as kept:
            load()
        mine_is_whole = holds(mine)
    assert mine_is_whole
    for error in (kept.value, kept.value.__cause__):
        assert not holds(error)
