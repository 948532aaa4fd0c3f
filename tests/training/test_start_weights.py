"""A checkpoint without the frozen weights goes on from the right ones or not at all."""

import json

import pytest
import torch
from torch import nn

from desa2va.training.start_weights import StartWeights, check_start, digest
from desa2va.training.train import run_stage


class Objective(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model


def parts(model):
    """State and names that learn, as of an objective."""
    objective = Objective(model)
    return objective.state_dict(), {name for name, value in objective.named_parameters() if value.requires_grad}


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = nn.ModuleDict({"one": nn.Linear(2, 3), "two": nn.Linear(3, 1)})
    model["one"].requires_grad_(False)
    return model


def test_what_does_not_learn_and_was_not_changed_is_left_out(model):
    start = StartWeights("here", model)
    with torch.no_grad():
        model["one"].bias.add_(1)  # a warm start
    assert set(start.untouched(*parts(model))) == {"model.one.weight"}


def test_type_shape_and_content_make_a_digest():
    value = torch.arange(6.0)
    others = [value.reshape(2, 3), value.bfloat16(), value + 1e-6]
    assert digest(value) == digest(value.clone())
    assert len({digest(item) for item in [value, *others]}) == 4


def test_another_start_is_told(model, tmp_path):
    start = StartWeights("runs/one", model)
    left_out = start.untouched(*parts(model))
    start.write(tmp_path, left_out)
    check_start(tmp_path, start, list(left_out))
    with pytest.raises(ValueError, match="lacks 1 weights of this stage, e.g. model.three"):
        check_start(tmp_path, start, [*left_out, "model.three"])
    with torch.no_grad():
        model["one"].weight.mul_(2)
    for other in (StartWeights("runs/two", model), None):
        with pytest.raises(ValueError, match="goes on from the weights of runs/one.*give the same init_from"):
            check_start(tmp_path, other, list(left_out))


STAGE = {
    "init_from": "desa2va-tiny",
    "mask_loss": {"mask_target_size": 32},
    "model": {"dtype": "bfloat16"},
    "data": {"options": {"conversations": 2}},
    "training": {
        "phase": "decoupling",
        "lora_rank": 4,
        "max_steps": 1,
        "save_strategy": "no",
        "per_device_train_batch_size": 2,
        "use_cpu": True,
        "disable_tqdm": True,
    },
}


@pytest.mark.parametrize("autocast", [False, True])
def test_a_language_model_in_half_precision_trains_with_lora(tmp_path, autocast):
    """Everything was loaded in float32, four bytes for every frozen weight."""
    training = {**STAGE["training"], "bf16": autocast}
    folder = run_stage({**STAGE, "training": training, "output_dir": str(tmp_path)})
    report = json.loads((folder / "stage.json").read_text())
    assert report["steps"] == 1
    assert json.loads((folder / "config.json").read_text())["dtype"] == "bfloat16"


def test_half_precision_does_not_learn(tmp_path):
    training = {**STAGE["training"], "language_model": "full"}
    with pytest.raises(ValueError, match="half precision in which .* weights would learn"):
        run_stage({**STAGE, "training": training, "output_dir": str(tmp_path)})
