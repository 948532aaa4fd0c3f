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

from .objectives.temporal import TERMS

logger = logging.getLogger(__name__)
SEVERAL = (
    "type `torchrun --nproc_per_node N -m desa2va.training.train ...` or `accelerate launch --multi_gpu "
    "--num_processes N -m desa2va.training.train ...`; on CPUs add `training.use_cpu=true training.ddp_backend=gloo`"
)


def check_launch(training: dict[str, Any], quantization: str | None = None) -> None:
    """Looks before anything is loaded.

    Args:
        training: section `training` of the configuration. quantization: of its section `model`.

    Raises:
        ValueError: what a sharded training cannot do; DeepSpeed; or one process where
            `accelerate launch` was asked for several.
    """
    fsdp = _fsdp_options(training)
    if fsdp is not None:
        _check_fsdp(fsdp, training, quantization)
    if training.get("deepspeed") or _says_yes("ACCELERATE_USE_DEEPSPEED"):
        raise ValueError(
            "DeepSpeed is not supported: ZeRO-3 fetches weights module by module and ZeRO-2 adds up gradients in the "
            "order in which they appear, and neither is the same in processes with and without objects; FSDP2 "
            "divides as much: accelerate launch --config_file examples/accelerate/fsdp2.yaml"
        )
    if one_was_started():
        raise ValueError(
            "accelerate launch was asked for several processes and started one, as it does with --cpu: " + SEVERAL
        )


def one_was_started() -> bool:
    """Whether `accelerate launch` prepared for several processes and started one, as it does with `--cpu`."""
    return (
        "MASTER_ADDR" in os.environ and "ACCELERATE_MIXED_PRECISION" in os.environ and "WORLD_SIZE" not in os.environ
    )


def _fsdp_options(training: dict[str, Any]) -> dict[str, Any] | None:
    """What the configuration or accelerate's environment says about FSDP, by accelerate's names; `None` without it."""
    if training.get("fsdp"):
        options = training.get("fsdp_config") or {}
        if isinstance(options, str):
            options = json.loads(Path(options).read_text(encoding="utf-8"))
        return {"version": 2, **{name.removeprefix("fsdp_"): value for name, value in options.items()}}
    if not _says_yes("ACCELERATE_USE_FSDP"):
        return None
    named = {name.removeprefix("FSDP_").lower(): value for name, value in os.environ.items() if name[:5] == "FSDP_"}
    return {"version": 1, **named}


def _check_fsdp(options: dict[str, Any], training: dict[str, Any], quantization: str | None) -> None:
    """Refuses what does not go with layers that are sharded one by one; see `training/sharding.py`."""
    classes = ("transformer_layer_cls_to_wrap", "transformer_cls_to_wrap")
    weights = training.get("weights") or {}
    for found, what, remedy in (
        (str(options["version"]) != "2", "version 1", "set fsdp_version: 2, as examples/accelerate/fsdp2.yaml does"),
        (
            _is_yes(options.get("cpu_ram_efficient_loading")),
            "fsdp_cpu_ram_efficient_loading, which leaves the weights of all processes but the first empty",
            "set it to false",
        ),
        (
            any(options.get(name) for name in classes) or "size" in str(options.get("auto_wrap_policy")).lower(),
            "units of your choice: a process without objects would let the others wait for ever",
            "leave fsdp_transformer_layer_cls_to_wrap and fsdp_auto_wrap_policy out",
        ),
        (
            _is_yes(options.get("activation_checkpointing")),
            "fsdp_activation_checkpointing",
            "set training.gradient_checkpointing=true instead",
        ),
        (quantization is not None, "model.quantization", "train with DDP, or leave the quantisation out"),
        ((training.get("muon_learning_rate") or 0) > 0, "Muon", "set training.muon_learning_rate=0"),
        (
            any(weights.get(name, 0) > 0 for name in TERMS),
            f"the weights {' and '.join(TERMS)}, which read videos twice",
            "set them to 0, or train with DDP",
        ),
    ):
        if found:
            raise ValueError(f"FSDP does not go with {what} here: {remedy}")
    if _is_yes(options.get("cpu_offload")) or _is_yes(options.get("offload_params")):
        logger.warning("FSDP with weights offloaded to the CPU has not been tried with this program")


def check_processes(count: int) -> None:
    """Raises `ValueError` where the launcher started more processes than train together (`count`)."""
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started != count:
        raise ValueError(f"{started} processes were started but {count} train together: {SEVERAL}")


def _says_yes(name: str) -> bool:
    return _is_yes(os.environ.get(name))


def _is_yes(value: Any) -> bool:
    return str(value).lower() in ("1", "true", "yes", "on", "y", "t")


__all__ = ["SEVERAL", "check_launch", "check_processes", "one_was_started"]
