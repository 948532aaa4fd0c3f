"""What the environment says about the processes of a training, against what this program can do with them.

Enters: the training section and the variables that `accelerate launch` and `torchrun` set. Leaves nothing, or a
sentence that says what to type instead.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)
SEVERAL = (
    "type `torchrun --nproc_per_node N -m desa2va.training.train ...` or `accelerate launch --multi_gpu "
    "--num_processes N -m desa2va.training.train ...`; on CPUs add `training.use_cpu=true training.ddp_backend=gloo`"
)


def check_launch(training: dict[str, Any]) -> None:
    """Looks before anything is loaded.

    Args:
        training: section `training` of the configuration.

    Raises:
        ValueError: FSDP or ZeRO stage 3, whose shards no checkpoint would hold; or one process where
            `accelerate launch` was asked for several.
    """
    if training.get("fsdp") or _says_yes("ACCELERATE_USE_FSDP"):
        raise ValueError(
            "FSDP is not supported yet: a checkpoint would hold the shard of one process; train with DDP: " + SEVERAL
        )
    stage = _zero_stage(training.get("deepspeed"))
    if stage == 3:
        raise ValueError(
            "DeepSpeed ZeRO stage 3 is not supported yet: a checkpoint would hold the shard of one process; train "
            "with DDP: " + SEVERAL
        )
    if stage is not None:
        logger.warning("DeepSpeed ZeRO stage %s has not been tried with this program; DDP has: %s", stage, SEVERAL)
    # `accelerate launch --cpu --num_processes 2` prepares for several processes and starts one.
    if "MASTER_ADDR" in os.environ and "ACCELERATE_MIXED_PRECISION" in os.environ and "WORLD_SIZE" not in os.environ:
        raise ValueError(
            "accelerate launch was asked for several processes and started one, as it does with --cpu: " + SEVERAL
        )


def check_processes(count: int) -> None:
    """Raises `ValueError` where the launcher started more processes than train together (`count`)."""
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started != count:
        raise ValueError(f"{started} processes were started but {count} train together: {SEVERAL}")


def _says_yes(name: str) -> bool:
    return os.environ.get(name, "").lower() in ("1", "true", "yes", "on", "y", "t")


def _zero_stage(config: dict[str, Any] | str | None) -> int | None:
    """Stage of ZeRO that DeepSpeed's configuration or accelerate's environment asks for; `None` without DeepSpeed."""
    if not config and not _says_yes("ACCELERATE_USE_DEEPSPEED"):
        return None
    config = config or os.environ.get("ACCELERATE_DEEPSPEED_CONFIG_FILE")
    if not config or config == "none":
        return int(os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE", "2"))
    if isinstance(config, str):
        config = json.loads(Path(config).read_text(encoding="utf-8"))
    return int(config.get("zero_optimization", {}).get("stage", 0))


__all__ = ["SEVERAL", "check_launch", "check_processes"]
