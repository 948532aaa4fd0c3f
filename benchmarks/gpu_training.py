"""Samples per second and peak memory of LoRA fine-tuning with language models of the published sizes.

Enters: a preset. Leaves: what optimizer steps of the packaged recipe `finetune_lora` take: RefShapes drawn at the
preset's picture sizes (448 and 1,024 pixels), random weights, two samples a step without accumulation.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import torch

from desa2va.training.data.refshapes.dataset import RefShapes
from desa2va.training.dry_run import measured, plain_stage
from desa2va.training.recipe_file import read_config

from .gpu_answers import backbone_model

# Changes of the recipe's section `training`, by the name of the report.
VARIANTS: dict[str, dict[str, Any]] = {
    "recipe": {},
    "batch_16": {"per_device_train_batch_size": 16},
    "batch_16_no_checkpointing": {"per_device_train_batch_size": 16, "gradient_checkpointing": False},
}


def lora_speeds(preset: str, device: torch.device) -> dict[str, Any]:
    """`lora_speed` by variant; one that fails is noted."""
    figures: dict[str, Any] = {}
    for name, changes in VARIANTS.items():
        try:
            figures[name] = lora_speed(preset, device, **changes)
        except torch.OutOfMemoryError as error:
            figures[name] = {"error": str(error).partition(". ")[0]}
    return figures


def lora_speed(preset: str, device: torch.device, steps: int = 6, **training: Any) -> dict[str, Any]:
    """Takes some steps and forgets them.

    Args:
        preset: see `backbone_model`. device: of the training. steps: at least 3; the first two warm up.
        training: changes of the recipe's section `training`.

    Returns:
        `seconds_per_step`, `samples_per_second`, `batch`, and on a GPU `peak_mib`.
    """
    config = read_config("finetune_lora")
    config = {
        name: value for name, value in config.items() if name not in ("init_from", "sam2", "init_desa2va", "data")
    }
    config = plain_stage(config)
    config["training"] |= {"use_cpu": device.type == "cpu", **training}
    config["model"] = {"preset": preset, "dtype": "bfloat16"}
    model, processor = backbone_model(preset, device)
    model.segmenter.copy_decoders()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    dataset = RefShapes("train", level="standard", conversations=2, length=256)
    with tempfile.TemporaryDirectory() as folder:
        seconds = median(measured(config, Path(folder), (model.train(), processor), dataset, steps)[2:])
    batch = config["training"]["per_device_train_batch_size"]
    figures = {"seconds_per_step": round(seconds, 4), "samples_per_second": round(batch / seconds, 2), "batch": batch}
    if device.type == "cuda":
        figures["peak_mib"] = round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    return figures


__all__ = ["lora_speed", "lora_speeds"]
