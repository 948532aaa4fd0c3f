"""Every way to use a model, with its parts on other devices: whatever meets must be on one of them."""

import pytest

from benchmarks.scenarios import SCENARIOS, assert_same, picture, probe, session

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
