"""What a launcher tells its processes."""

import pytest

from desa2va.eval.benchmarks.processes import Processes, joined_processes, launched
from tests.training.test_launch import NAMES, ONE_OF_TWO


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """A process that nobody launched."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_one_process_in_place_of_several_is_told(environment, caplog):
    """`accelerate launch --cpu --num_processes 2` starts one: it did all the work and said nothing."""
    for name, value in ONE_OF_TWO.items():
        environment.setenv(name, value)
    with joined_processes() as processes:
        assert processes == Processes(0, 1)
    assert "started one, as it does with --cpu" in caplog.text


def test_real_launches_say_nothing(environment, caplog):
    assert launched() == (0, 1)
    for name, value in {**ONE_OF_TWO, "WORLD_SIZE": "4", "RANK": "3"}.items():
        environment.setenv(name, value)
    assert launched() == (3, 4)
    assert not caplog.records
