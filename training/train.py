"""`desa2va train CONFIG` and `accelerate launch -m desa2va.training.train CONFIG`: the same program.

Enters: a configuration: a YAML of differences, or the name of one that comes with the package (`tiny`,
`tiny/text_pretraining`).
A configuration with `stages` is a recipe: its stages run in order, each from the last one's model; finished stages
are skipped and an interrupted one resumes from its newest checkpoint. Leaves: a folder per stage with the model, its
processor and `stage.json`.
"""

from __future__ import annotations

import argparse
import copy
import functools
import json
import logging
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import set_seed
from transformers.trainer_utils import get_last_checkpoint

from desa2va.configuration.presets import preset_config
from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel
from desa2va.processing.files import write_file
from desa2va.processing.processing_desa2va import DeSa2VAProcessor

from . import warm_start
from .arguments import DataArguments, DeSa2VATrainingArguments, MaskLossArguments
from .data.build import build_dataset
from .disentangling import AuxiliaryNetworks
from .label_refit import refit_label_projection
from .label_states import LabelReader
from .language_adapters import attach_lora, merge_lora
from .monitors import TrainingMonitor, warnings_of
from .objectives.base import Objective
from .phases import build_objective, free_parameters, trainable_prefixes
from .processors import preset_processor, switch_seg_design
from .recipe_file import apply_overrides, check_config, check_stage, read_config, resolve_stages
from .trainer import DeSa2VATrainer

logger = logging.getLogger(__name__)
STAGE_FILE = "stage.json"
HEADS_FILE = "heads.pt"


def run_recipe(config: dict[str, Any]) -> Path:
    """Runs the stages of a recipe, or a single stage. Returns the folder of the last model.

    Raises:
        ValueError: a key nobody reads, in any stage; no stage was begun then.
    """
    folders = [run_stage(stage) for stage in resolve_stages(check_config(config, "configuration"))]
    return folders[-1]


def run_stage(config: dict[str, Any]) -> Path:
    """Trains one stage, or returns at once where it is finished. Returns the folder of its model."""
    config = check_stage(config, "configuration")
    folder = Path(config["output_dir"])
    if (folder / STAGE_FILE).is_file():
        logger.info("%s is finished, skipping it", folder)
        return folder
    seed = int(config.get("seed", 0))
    set_seed(seed)
    arguments = _training_arguments(config, folder, seed)
    data = DataArguments(**{"seed": seed, **config.get("data", {})})
    mask_loss = MaskLossArguments(**config.get("mask_loss", {}))
    model, processor = _start(config)
    model.to(arguments.device)
    dataset = build_dataset(data, arguments)
    reader = LabelReader(model, processor.tokenizer) if _needs_reader(model, arguments) else None
    checkpoint = get_last_checkpoint(str(folder)) if folder.is_dir() else None
    if checkpoint is None:
        _warm_start(model, processor, dataset, reader, arguments)
    fields = {name: value for name, value in config.get("model", {}).items() if name != "preset"}
    if fields and config.get("init_from"):
        switch_seg_design(processor, model, fields)
        model = with_fields(model, fields)
    if "num_reprompts" not in fields:
        model.config.num_reprompts = trained_reprompts(arguments.phase, model.config.num_reprompts)
    model.isolate_text(arguments.text_gradient == "isolated")
    prefixes = trainable_prefixes(arguments)
    learning = free_parameters(model, prefixes)
    adapters = None
    if arguments.phase in ("decoupling", "fusion") and arguments.language_model == "lora":
        adapters = attach_lora(model, arguments)
    objective = build_objective(model, arguments, mask_loss, processor, reader)
    load_heads(objective, config.get("init_from"))
    trainer = DeSa2VATrainer(
        model=objective,
        args=arguments,
        auxiliary=_auxiliary(model, arguments),
        train_dataset=dataset,
        data_collator=processor.collate,
        callbacks=[TrainingMonitor()],
    )
    started, cpu_started = time.time(), time.process_time()
    result = trainer.train(resume_from_checkpoint=checkpoint)
    cpu_seconds = time.process_time() - cpu_started
    merge_lora(model, adapters)
    if trainer.is_world_process_zero():
        facts = {"seconds": round(time.time() - started, 1), "cpu_seconds": round(cpu_seconds, 1)}
        if reader is not None and model.config.prompt_mode == "desa2va" and arguments.phase != "text_pretraining":
            facts["label_refit"] = refit_label_projection(model, reader)
        _finish(folder, model, processor, trainer, config, learning, facts, result)
    trainer.accelerator.wait_for_everyone()
    return folder


def _training_arguments(config: dict[str, Any], folder: Path, seed: int) -> DeSa2VATrainingArguments:
    return DeSa2VATrainingArguments(
        **{"output_dir": str(folder), "seed": seed, "data_seed": seed, **config.get("training", {})}
    )


def _start(config: dict[str, Any]) -> tuple[DeSa2VAModel, DeSa2VAProcessor]:
    """The model a stage begins with: `init_from` as it was saved, or a fresh one of the preset with the fields of
    `model`.
    """
    fields = dict(config.get("model", {}))
    preset = fields.pop("preset", "tiny")
    source = config.get("init_from")
    if source:
        from desa2va.hub import resolve

        source = resolve(source)
        return DeSa2VAModel.from_pretrained(source, dtype=torch.float32), DeSa2VAProcessor.from_pretrained(source)
    processor = preset_processor(preset, fields)
    model = DeSa2VAModel(preset_config(preset, seg_token_ids=processor.seg_token_ids, **fields))
    return model, processor


def trained_reprompts(phase: str, num_reprompts: int) -> int:
    """Re-prompts of a model in and after `phase`, where its configuration names no number.

    Phase 2 trains none, and an untrained one costs about ten points of cIoU: its model uses none. Phase 3 brings the
    paper's one back (Eq. 11).
    """
    return {"decoupling": 0, "fusion": max(num_reprompts, 1)}.get(phase, num_reprompts)


def with_fields(model: DeSa2VAModel, fields: dict[str, Any]) -> DeSa2VAModel:
    """The model under a configuration with other `fields`; parts that both have keep their weights.

    Called after the warm start, so that a baseline (`prompt_mode="sa2va"`) can begin from what text pre-training
    taught.
    """
    config = copy.deepcopy(model.config)
    for name, value in fields.items():
        setattr(config, name, value)
    config.check()
    changed = DeSa2VAModel(config)
    own = changed.state_dict()
    kept = {
        name: value for name, value in model.state_dict().items() if name in own and own[name].shape == value.shape
    }
    changed.load_state_dict({**own, **kept})
    return changed


def load_heads(objective: Objective, source: str | None) -> None:
    """Continues with the throw-away heads of the stage before, where it had the same: fresh ones would first
    unteach.
    """
    path = Path(source, HEADS_FILE) if source else None
    if path is None or not path.is_file():
        return
    own = objective.state_dict()
    saved = torch.load(path, map_location="cpu", weights_only=True)
    fitting = {name: value for name, value in saved.items() if name in own and own[name].shape == value.shape}
    objective.load_state_dict({**own, **fitting})


def _save_heads(objective: Objective, folder: Path) -> None:
    heads = {name: value for name, value in objective.state_dict().items() if not name.startswith("model.")}
    heads.pop("step", None)
    if heads:
        torch.save(heads, folder / HEADS_FILE)


def _needs_reader(model: DeSa2VAModel, arguments: DeSa2VATrainingArguments) -> bool:
    masks = arguments.phase in ("text_pretraining", "decoupling", "fusion")
    return masks and model.config.prompt_mode == "desa2va"


def _warm_start(
    model: DeSa2VAModel, processor: Any, dataset: Any, reader: LabelReader | None, arguments: DeSa2VATrainingArguments
) -> None:
    """Computes the start values the arguments name, in the order they name them.

    One process computes, the others receive its weights.
    """

    def batches(count: int) -> Iterator[dict[str, Any]]:
        size = 16
        return (processor.collate([dataset[i * size + j] for j in range(size)]) for i in range(count))

    @functools.cache
    def seg() -> warm_start.SegStates:
        return warm_start.read_seg_states(model, batches(60), reader)

    actions = {
        "fan_in": lambda: warm_start.fan_in(model),
        "pca": lambda: warm_start.whiten_patch_embeddings(model, list(batches(25))),
        "copy_decoders": lambda: model.segmenter.copy_decoders(),
        "whiten_labels": lambda: warm_start.whiten_labels(
            model, reader, sorted({label for batch in batches(40) for label in batch["object_labels"]})
        ),
        "visual_from_text": lambda: warm_start.visual_from_text(model),
        "fit_text": lambda: warm_start.fit_projection(model.decoupling.text, seg().states, seg().labels),
        "fit_visual_to_labels": lambda: warm_start.fit_projection(model.decoupling.visual, seg().states, seg().labels),
        "fit_visual_to_clicks": lambda: warm_start.fit_projection(model.decoupling.visual, seg().states, seg().clicks),
        "favour_visual": lambda: warm_start.favour_visual(model),
        "fit_text_to_clicks": lambda: warm_start.fit_projection(model.decoupling.text, seg().states, seg().clicks),
    }
    if unknown := [name for name in arguments.warm_start if name not in actions]:
        raise ValueError(f"warm_start holds {unknown[0]!r}; choose among {', '.join(actions)}")
    if arguments.process_index == 0:
        for name in arguments.warm_start:
            model.eval()
            actions[name]()
            model.train()
    if arguments.warm_start and torch.distributed.is_initialized():
        for value in model.state_dict().values():
            torch.distributed.broadcast(value, 0)


def _auxiliary(model: DeSa2VAModel, arguments: DeSa2VATrainingArguments) -> AuxiliaryNetworks | None:
    wanted = arguments.weights.get("adversarial", 0) > 0 or arguments.weights.get("club", 0) > 0
    if arguments.phase not in ("decoupling", "fusion") or model.config.prompt_mode != "desa2va" or not wanted:
        return None
    return AuxiliaryNetworks(
        model.config.prompt_dim,
        pairing=arguments.adversarial_pairing,
        num_components=arguments.club_components,
        queue_size=arguments.queue_size,
        hidden=arguments.auxiliary_hidden,
        log_variance_bound=arguments.club_log_variance_bound,
        spectral_norm=arguments.discriminator_spectral_norm,
        instance_noise=arguments.discriminator_noise,
        label_smoothing=arguments.discriminator_label_smoothing,
        gradient_penalty=arguments.discriminator_gradient_penalty,
    )


def _finish(
    folder: Path,
    model: DeSa2VAModel,
    processor: Any,
    trainer: DeSa2VATrainer,
    config: dict[str, Any],
    learning: list[str],
    facts: dict[str, float | None],
    result: Any,
) -> None:
    """Writes the model, its processor and what happened; `stage.json` last, so that its presence means finished."""
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    _save_heads(trainer.accelerator.unwrap_model(trainer.model), folder)
    trainer.state.save_to_json(str(folder / "trainer_state.json"))
    stage = {
        "config": config,
        **facts,
        "steps": trainer.state.global_step,
        "final": {key: value for key, value in result.metrics.items() if isinstance(value, int | float)},
        "warnings": warnings_of(trainer.state.log_history),
        "learning_parameters": len(learning),
        "processes": trainer.args.world_size,
        "threads": torch.get_num_threads(),
        "hardware": platform.processor() or platform.machine(),
        "device": str(trainer.args.device),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }
    text = json.dumps(stage, indent=2, default=str) + "\n"
    write_file(folder / STAGE_FILE, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def main(arguments: list[str] | None = None) -> None:
    """Command line: CONFIG, then any number of `section.key=value`."""
    parser = argparse.ArgumentParser(prog="desa2va train", description=__doc__)
    parser.add_argument("config", help="a YAML file, or the name of a packaged configuration such as tiny")
    parser.add_argument(
        "overrides", nargs="*", help="section.key=value, e.g. training.max_steps=100 output_dir=runs/x"
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    if threads := os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(int(threads))
    run_recipe(apply_overrides(read_config(options.config), options.overrides))
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
