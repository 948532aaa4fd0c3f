"""Where a module computes while accelerate keeps its weights elsewhere."""

import copy

import accelerate
import numpy as np
import pytest
import torch
from accelerate.hooks import AlignDevicesHook, ModelHook, add_hook_to_module
from torch import nn

from desa2va.modeling_desa2va.devices import bring_small_weights, execution_device


def test_without_hooks_it_is_the_device_of_the_weights():
    assert execution_device(nn.Sequential(nn.ReLU(), nn.Linear(2, 2, device="meta"))) == torch.device("meta")


def test_a_hook_says_where_its_module_computes():
    """An offloaded weight lies on the meta device, which is no place for inputs."""
    layer = nn.Linear(2, 2)
    accelerate.cpu_offload(layer, execution_device=torch.device("cpu"))
    assert layer.weight.device.type == "meta"
    assert execution_device(nn.Sequential(layer)) == torch.device("cpu")


def test_a_hook_among_others_is_found():
    layer = nn.Linear(2, 2, device="meta")
    add_hook_to_module(layer, ModelHook())
    layer._hf_hook = accelerate.hooks.SequentialHook(ModelHook(), AlignDevicesHook("cpu"))
    assert execution_device(layer) == torch.device("cpu")


def test_a_module_without_weights_is_named():
    with pytest.raises(ValueError, match="ReLU has no weights"):
        execution_device(nn.ReLU())


def test_small_weights_come_and_stay_and_large_ones_do_not():
    """`module.weight` without a call of `module` found nothing: tokens, codes, the point embeddings."""
    pair = nn.Sequential(nn.Embedding(1, 8), nn.Linear(64, 64))
    values, inputs = pair[0].weight.detach().clone(), torch.ones(1, 64)
    wanted = pair[1](inputs)
    accelerate.cpu_offload(pair, execution_device=torch.device("cpu"))
    bring_small_weights(pair)
    assert torch.equal(pair[0].weight, values)
    assert pair[1].weight.device.type == "meta"
    assert torch.equal(pair[1](inputs), wanted)
    pair[0](torch.tensor([0]))
    assert torch.equal(pair[0].weight, values)


def test_inputs_may_be_sent_to_the_device_of_an_offloaded_model(make_model):
    """The model card sends them to `model.device`."""
    model = make_model()
    accelerate.cpu_offload(model, execution_device=torch.device("cpu"))
    assert next(model.parameters()).device.type == "meta"
    assert model.device == torch.device("cpu")


@pytest.mark.parametrize("backbone", ["qwen2_5_vl", "qwen3_vl"])
def test_other_backbones_answer_while_they_are_offloaded(make_qwen, backbone):
    model, processor = make_qwen(backbone)
    frames = list(np.random.default_rng(0).integers(0, 255, (3, 60, 80, 3), dtype=np.uint8))
    inputs = processor(videos=frames, text="find the red circle", task="segment", num_key_frames=2)
    wanted = model.generate(**inputs, max_new_tokens=4)
    away = copy.deepcopy(model)
    accelerate.cpu_offload(away)
    found = away.generate(**inputs, max_new_tokens=4)
    assert torch.equal(found.sequences, wanted.sequences)
    torch.testing.assert_close(found.track_logits, wanted.track_logits)
