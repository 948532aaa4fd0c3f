"""Every way to use a model, with its parts on other devices: whatever meets must be on one of them."""

import pytest
import torch

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
