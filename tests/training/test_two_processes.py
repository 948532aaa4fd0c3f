"""Data parallel training on two processes: what one of them lacks ends neither, and a resume is exact."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import desa2va

PROGRAM = Path(__file__).with_name("two_processes.py")


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """What `two_processes.py` saw."""
    root = Path(desa2va.__file__).resolve().parent.parent
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(tmp_path_factory.mktemp("runs"))],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


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
    assert report["left"] == [".training", ".unfinished", "checkpoint-1"]
    assert report["resumed"] == [0, 0]
    assert report["equal"]
    assert report["label_refit"] is not None
