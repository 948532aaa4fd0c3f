"""Launches that would silently train with fewer processes, or save the shard of one."""

import json

import pytest

from desa2va.training.launch import check_launch, check_processes
from desa2va.training.train import run_stage

# What `accelerate launch --cpu --num_processes 2` leaves in the environment of the one process it starts.
ONE_OF_TWO = {
    "ACCELERATE_USE_CPU": "True",
    "ACCELERATE_MIXED_PRECISION": "no",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29500",
}
NAMES = (*ONE_OF_TWO, "WORLD_SIZE", "RANK", "ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED")


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """A process that nobody launched."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_one_process_where_two_were_asked_for_is_refused(environment, tmp_path):
    """`accelerate launch --cpu --num_processes 2` trained with one, half the batch and no word."""
    for name, value in ONE_OF_TWO.items():
        environment.setenv(name, value)
    with pytest.raises(ValueError, match=r"several processes and started one.*torchrun --nproc_per_node N"):
        run_stage({"output_dir": str(tmp_path)})


def test_real_launches_pass(environment):
    """One process of accelerate, one of two, and a cluster that names a master."""
    check_launch({})
    environment.setenv("MASTER_ADDR", "10.0.0.1")
    check_launch({})
    environment.setenv("ACCELERATE_MIXED_PRECISION", "no")
    environment.setenv("WORLD_SIZE", "2")
    check_launch({})
    check_processes(2)


def test_processes_that_do_not_train_together_are_told(environment):
    environment.setenv("WORLD_SIZE", "4")
    with pytest.raises(ValueError, match="4 processes were started but 1 train together"):
        check_processes(1)


@pytest.mark.parametrize(
    ("training", "variables", "said"),
    [
        ({"fsdp": "full_shard"}, {}, "FSDP is not supported"),
        ({}, {"ACCELERATE_USE_FSDP": "true"}, "FSDP is not supported"),
        ({"deepspeed": {"zero_optimization": {"stage": 3}}}, {}, "ZeRO stage 3 is not supported"),
        ({}, {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "3"}, "ZeRO stage 3"),
    ],
)
def test_shards_are_refused_by_name(environment, training, variables, said):
    """Checkpoints held the state of one process, whatever it was given to save."""
    for name, value in variables.items():
        environment.setenv(name, value)
    with pytest.raises(ValueError, match=said):
        check_launch(training)


def test_other_stages_of_zero_are_warned_of(caplog, tmp_path):
    path = tmp_path / "zero.json"
    path.write_text(json.dumps({"zero_optimization": {"stage": 2}}))
    check_launch({"deepspeed": str(path)})
    assert "stage 2 has not been tried" in caplog.text
