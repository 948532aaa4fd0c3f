"""Launches that would silently train with fewer processes, or save the shard of one."""

import os

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
FSDP = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_CPU_RAM_EFFICIENT_LOADING": "false"}
NAMES = (*ONE_OF_TWO, "WORLD_SIZE", "RANK", "ACCELERATE_USE_DEEPSPEED", *FSDP)


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """A process that nobody launched."""
    for name in [*NAMES, *(name for name in os.environ if name.startswith("FSDP_"))]:
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
    ("training", "variables"),
    [({"fsdp": True, "weights": {"motion_order": 0}}, {}), ({}, FSDP), ({"fsdp": True, "fsdp_config": {}}, {})],
)
def test_fsdp_of_the_second_version_passes(environment, training, variables):
    for name, value in variables.items():
        environment.setenv(name, value)
    check_launch(training)


@pytest.mark.parametrize(
    ("training", "variables", "said"),
    [
        ({}, {"ACCELERATE_USE_FSDP": "true"}, "version 1.*fsdp_version: 2"),
        ({"fsdp": True, "fsdp_config": {"version": 1}}, {}, "version 1"),
        ({}, FSDP | {"FSDP_CPU_RAM_EFFICIENT_LOADING": "true"}, "cpu_ram_efficient_loading.*set it to false"),
        ({}, FSDP | {"FSDP_TRANSFORMER_CLS_TO_WRAP": "Sam2MultiScaleBlock"}, "wait for ever.*leave"),
        ({"fsdp": True, "fsdp_config": {"auto_wrap_policy": "SIZE_BASED_WRAP"}}, {}, "units of your choice"),
        ({}, FSDP | {"FSDP_ACTIVATION_CHECKPOINTING": "true"}, "training.gradient_checkpointing=true"),
        ({"muon_learning_rate": 0.01}, FSDP, "Muon"),
        ({"weights": {"motion_order": 0.1}}, FSDP, "read videos twice"),
        ({"deepspeed": {"zero_optimization": {"stage": 3}}}, {}, "DeepSpeed is not supported.*fsdp2.yaml"),
        ({"deepspeed": "zero2.json"}, {}, "DeepSpeed is not supported"),
        ({}, {"ACCELERATE_USE_DEEPSPEED": "true"}, "DeepSpeed is not supported"),
    ],
)
def test_what_does_not_go_with_shards_is_refused_by_name(environment, training, variables, said):
    """Some of it waited for ever, some wrote the share of one process, some left weights empty."""
    for name, value in variables.items():
        environment.setenv(name, value)
    with pytest.raises(ValueError, match=said):
        check_launch(training)


def test_four_bits_are_refused_under_fsdp(environment):
    for name, value in FSDP.items():
        environment.setenv(name, value)
    with pytest.raises(ValueError, match=r"model\.quantization"):
        check_launch({}, "nf4")
