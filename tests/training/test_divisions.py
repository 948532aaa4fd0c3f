"""However the samples of a step are divided among processes and micro-batches, the step is the same."""

from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("divided_processes.py")


@pytest.fixture(scope="module")
def report(run_program):
    """What `divided_processes.py` saw."""
    report = run_program(PROGRAM)
    assert report["ended"] == [0, [0, 0], 0, 0]
    return report


@pytest.mark.parametrize("kind", ["gradients", "networks", "statistics"])
def test_two_processes_take_the_step_of_one(report, kind):
    """CLUB standardised with the rows of one process alone, and a discriminator's mean over real rows was a mean of
    means.
    """
    assert report["2x2"][kind] < 1e-5


@pytest.mark.parametrize("kind", ["gradients", "networks", "statistics"])
def test_accumulated_singles_take_the_step_of_one_batch(report, kind):
    """Without CLUB's term, whose gradient knows the objects of one micro-batch (of all processes) only."""
    assert report["4x1"][kind] < 1e-5
