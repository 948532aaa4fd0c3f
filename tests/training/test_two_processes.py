"""Data parallel training on two processes: what one of them lacks ends neither, and a resume is exact."""

import signal
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("two_processes.py")


@pytest.fixture(scope="module")
def report(run_program):
    """What `two_processes.py` saw."""
    return run_program(PROGRAM)


def test_a_process_without_objects_ends_no_training(report):
    """The empty batch of one process raised, and the other waited for its gradients."""
    assert report["without objects"] == [0, 0]


def test_two_processes_resume_bit_for_bit(report):
    """W_l too: it is corrected on what both have read, before and after the interruption."""
    assert report["straight"] == [0, 0]
    assert report["processes"] == 2
    if "killed" not in report:
        pytest.skip("this transformers can not read an optimizer back in several processes on the CPU")
    assert report["killed"][0] == -signal.SIGKILL
    assert report["left"] == [".training", ".unfinished", "checkpoint-1", "log.jsonl"]
    assert report["resumed"] == [0, 0]
    assert report["equal"]
    assert report["label_refit"] is not None
