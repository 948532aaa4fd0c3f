"""However the samples of a step are divided among processes and micro-batches, the step is the same.

In float64, where rounding is below 1e-10: in float32 it reaches 2e-4 of a tensor's largest gradient, which a fault
could hide in.
"""

from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("divided_processes.py")
KINDS = ("weights", "gradients", "networks", "statistics")


@pytest.fixture(scope="module")
def report(run_program):
    """What `divided_processes.py` saw."""
    report = run_program(PROGRAM)
    assert report["ended"] == [0, [0, 0], 0]
    return report


def test_every_term_takes_part(report):
    """Guards against a comparison of steps from which a term is missing: CLUB's is 0 while q has learned nothing."""
    assert len(report["terms"]) == 10
    assert all(report["terms"].values()), report["terms"]


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_take_the_step_of_one(report, kind):
    """CLUB standardised with the rows of one process alone, and a discriminator's mean over real rows was a mean of
    means.
    """
    assert report["2x4"][kind] < 1e-9


@pytest.mark.parametrize("kind", KINDS)
def test_accumulated_singles_take_the_step_of_one_batch(report, kind):
    """CLUB's statistics had the gradient of the objects of one micro-batch and its clamp their sign, alignment the
    variance of their labels, and the discriminators' spectral norm went on with every micro-batch.
    """
    assert report["8x1"][kind] < 1e-9
