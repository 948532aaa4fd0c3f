"""The configurations of `accelerate launch` that come as examples."""

import os
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_multi_gpu_env

from desa2va.training.launch import check_launch

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "accelerate"


@pytest.mark.parametrize(
    ("name", "kind", "processes", "machines"),
    [("ddp.yaml", "MULTI_GPU", 8, 1), ("multi_node.yaml", "MULTI_GPU", 16, 2), ("fsdp2.yaml", "FSDP", 8, 1)],
)
def test_accelerate_reads_the_file(name, kind, processes, machines):
    config = load_config_from_file(str(FOLDER / name))
    assert (config.num_processes, config.num_machines) == (processes, machines)
    assert config.distributed_type == kind
    assert config.mixed_precision == "bf16"


def test_every_file_is_read():
    assert sorted(path.name for path in FOLDER.iterdir()) == ["ddp.yaml", "fsdp2.yaml", "multi_node.yaml"]


def test_what_the_sharding_file_makes_of_the_environment_is_taken(monkeypatch):
    """The launcher's own defaults leave the weights of all processes but the first empty, and name a size of units
    that was refused.
    """
    arguments = launch_command_parser().parse_args(["--config_file", str(FOLDER / "fsdp2.yaml"), "train.py"])
    arguments, _, _ = _validate_launch_command(arguments)
    for name, value in prepare_multi_gpu_env(arguments).items():
        if name.startswith(("FSDP_", "ACCELERATE_USE_FSDP")):
            monkeypatch.setenv(name, value)
    assert os.environ["ACCELERATE_USE_FSDP"] == "true"
    check_launch({})
