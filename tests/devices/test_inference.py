"""Every way to use a model, with its parts on other devices: whatever meets must be on one of them."""

import copy

import pytest
import torch
from accelerate.hooks import AlignDevicesHook, add_hook_to_module

from benchmarks.scenarios import SCENARIOS, Outcome, assert_same, picture, pictures, probe, request, session

PARTS = ("mllm", "segmenter", "decoupling", "fusion")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_a_model_in_pieces_says_what_it_says_on_the_cpu(scenario, placed, expected, devices):
    """A device map with a device for each part; nothing lies on the CPU, so a tensor left there is found as well."""
    wanted = expected(scenario)
    assert_same(scenario(*placed(**{name: f"cuda:{number}" for number, name in enumerate(PARTS)})), wanted)


@pytest.mark.parametrize("scenario", [picture, session, probe], ids=lambda scenario: scenario.__name__)
def test_a_model_on_one_device_says_what_it_says_on_the_cpu(scenario, placed, expected, devices):
    wanted = expected(scenario)
    assert_same(scenario(*placed(**dict.fromkeys(PARTS, "cuda"))), wanted)


@pytest.mark.parametrize("scenario", [picture, probe], ids=lambda scenario: scenario.__name__)
def test_a_language_model_over_several_devices(scenario, placed, expected, devices):
    """A map that accelerate makes for itself may part the vision tower, the layers and the output head."""
    wanted = expected(scenario)
    model, processor = placed(mllm="cuda:1", segmenter="cuda:2", decoupling="cuda:2", fusion="cuda:2")
    model.mllm.lm_head = copy.deepcopy(model.mllm.lm_head)  # tied weights stay together
    parts = model.mllm.model
    parts.vision_tower.to("cuda:0")
    parts.multi_modal_projector.to("cuda:0")
    hooked = ((parts.vision_tower, 0), (parts.get_input_embeddings(), 1), (parts.language_model, 1))
    for part, device in (*hooked, (model.mllm.lm_head, 3)):
        add_hook_to_module(part, AlignDevicesHook(f"cuda:{device}", place_submodules=True))
    assert_same(scenario(model, processor), wanted)


def test_inputs_may_lie_anywhere(placed, shipped, devices):
    """Some send a batch to the device themselves, and some to another one than the model's."""
    model, processor = placed(**dict.fromkeys(PARTS, "cuda:1"))
    image, text = pictures()[0].frames[0], request(pictures()[0])
    for asked in ({"text": text, "task": "segment"}, {"points": [[[64, 64, 1]]]}):
        inputs = processor(images=image, **asked)
        wanted = Outcome().add_results(processor.post_process(shipped[0].generate(**inputs), inputs))
        for device in ("cuda:1", "cuda:0"):
            moved = type(inputs)(inputs)
            for name, value in moved.items():
                moved[name] = value.to(device) if isinstance(value, torch.Tensor) else value
            assert_same(Outcome().add_results(processor.post_process(model.generate(**moved), moved)), wanted)
