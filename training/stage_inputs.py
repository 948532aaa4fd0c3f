"""What a stage is told and given, before its model is there; of all stages before the first one begins.

Enters: configurations of stages. Leaves: arguments, data and scorer of one, or the sentence that a later one would
have ended with, hours later. (Engineering; no paper section.)
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .arguments import DataArguments, DeSa2VATrainingArguments, MaskLossArguments
from .best_model import OpenScorer, Scorer, check_best, make_scorer
from .data.build import build_dataset, build_validation
from .launch import check_launch, check_processes
from .phases import validated_names
from .sharding import sharding_plugin

STAGE_FILE = "stage.json"


@dataclass
class StageInputs:
    """What `open_stage` found; `validation` and `scorer` are `None` where nothing asks for them."""

    arguments: DeSa2VATrainingArguments
    data: DataArguments
    mask_loss: MaskLossArguments
    dataset: Any
    validation: Any
    scorer: Scorer | None


def training_arguments(config: dict[str, Any], folder: Path, seed: int) -> DeSa2VATrainingArguments:
    """Section `training` as arguments, with the stage's folder and seed."""
    return DeSa2VATrainingArguments(
        **{"output_dir": str(folder), "run_name": folder.name, "seed": seed, "data_seed": seed}
        | config.get("training", {})
    )


def open_stage(
    config: dict[str, Any], folder: Path, open_scorer: OpenScorer | None = None, dataset: Any = None
) -> StageInputs:
    """Everything but the model.

    Args:
        config: of the stage. folder: of the stage. open_scorer: makes a scorer of section `score`. dataset: what is
            learned from, in place of what the configuration names; then nothing is validated.

    Raises:
        ValueError: what does not go together, or a value that can not be. FileNotFoundError: data that are not there.
    """
    seed = int(config.get("seed", 0))
    check_launch(config.get("training", {}), config.get("model", {}).get("quantization"))
    arguments = training_arguments(config, folder, seed)
    check_processes(arguments.world_size)
    data = DataArguments(**{"seed": seed, **config.get("data", {})})
    mask_loss = MaskLossArguments(**config.get("mask_loss", {}))
    if dataset is not None:
        return StageInputs(arguments, data, mask_loss, dataset, None, None)
    scorer = make_scorer(config, folder, open_scorer)
    if scorer is not None and arguments.world_size > 1 and sharding_plugin(arguments.fsdp_plugin_args) is not None:
        raise ValueError("score needs the whole model in every process, which FSDP divides: train with DDP")
    known = validated_names(arguments) if data.validation else set()
    check_best(arguments, known, scorer)
    validation = build_validation(data)
    return StageInputs(arguments, data, mask_loss, build_dataset(data, arguments), validation, scorer)


def check_stages(stages: list[dict[str, Any]], open_scorer: OpenScorer | None = None) -> None:
    """Opens every stage that is not finished, and forgets it.

    Raises:
        ValueError, FileNotFoundError: see `open_stage`; the message names the stage.
    """
    before = dict(os.environ)  # arguments leave words for accelerate there, which are those of their own stage
    for stage in stages:
        folder = Path(stage["output_dir"])
        if (folder / STAGE_FILE).is_file():
            continue
        try:
            open_stage(stage, folder, open_scorer)
        except ValueError as error:
            raise ValueError(f"stage {folder.name}: {error}") from error
        except FileNotFoundError as error:
            raise FileNotFoundError(f"stage {folder.name}: {error}") from error
        finally:
            os.environ.clear()
            os.environ.update(before)


__all__ = ["STAGE_FILE", "StageInputs", "check_stages", "open_stage", "training_arguments"]
