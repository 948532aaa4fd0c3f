"""The configurations of `accelerate launch` that come as examples."""

from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "accelerate"


@pytest.mark.parametrize(("name", "processes", "machines"), [("ddp.yaml", 8, 1), ("multi_node.yaml", 16, 2)])
def test_accelerate_reads_the_file(name, processes, machines):
    config = load_config_from_file(str(FOLDER / name))
    assert (config.num_processes, config.num_machines) == (processes, machines)
    assert config.distributed_type == "MULTI_GPU"
    assert config.mixed_precision == "bf16"
