"""`desa2va train CONFIG` and `accelerate launch -m desa2va.training.train CONFIG`: the same program.

Enters: a configuration: a YAML of differences, or the name of one that comes with the package (`tiny`,
`tiny/text_pretraining`).
A configuration with `stages` is a recipe: its stages run in order, each from the last one's model; finished stages
are skipped and an interrupted one resumes from its newest checkpoint. Leaves: a folder per stage with the model, its
processor and `stage.json`.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import set_seed

from desa2va.argument_types import integer
from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel
from desa2va.program import run_program

from .arguments import DeSa2VATrainingArguments, MaskLossArguments
from .best_model import OpenScorer, early_stopping, stopped_early
from .card_facts import SUMMARY_FILE, CardFacts
from .checkpoints import STATE_FILE, checkpoint_step, move_files, newest_checkpoint, writing
from .data.collator import Collator
from .data.record_lengths import check_lengths
from .disentangling import AuxiliaryNetworks
from .feature_cache import keep_features
from .folder_lock import folder_lock
from .label_refit import refit_label_projection, start_prompts
from .label_states import LabelReader
from .language_adapters import attach_lora, keep_adapter, merge_lora
from .method_version import METHOD_VERSION
from .monitors import TrainingMonitor, warnings_of
from .objectives.base import Objective
from .phases import build_objective, free_parameters, moves_language, trainable_prefixes
from .processors import switch_image_size, switch_seg_design
from .quantized_base import in_full_precision, is_in_four_bits
from .recipe_file import apply_overrides, check_config, check_stage, read_config, resolve_stages
from .run_log import end_reports
from .sharding import is_sharded, whole_state
from .stage_inputs import STAGE_FILE, check_stages, open_stage
from .stage_model import (
    LOADING,
    SHAPE_FIELDS,
    check_precision,
    load_heads,
    save_heads,
    start_model,
    trained_reprompts,
    with_fields,
)
from .start_weights import StartWeights
from .trainer import DeSa2VATrainer
from .warm_start import run_warm_start

logger = logging.getLogger(__name__)


def run_recipe(config: dict[str, Any], open_scorer: OpenScorer | None = None) -> Path:
    """Runs the stages of a recipe, or a single stage. Returns the folder of the last model.

    Args:
        config: the configuration. open_scorer: makes a scorer of section `score` and a stage's folder.

    Raises:
        ValueError, FileNotFoundError: a key nobody reads, or what `open_stage` refuses, in any stage; no stage was
            begun then. BlockingIOError: another process trains in the folder.
    """
    stages = resolve_stages(check_config(config, "configuration"))
    if "stages" not in config:
        return run_stage(stages[0], open_scorer)
    with folder_lock(config.get("output_dir", "runs/desa2va")):
        check_stages(stages, open_scorer)
        return [run_stage(stage, open_scorer) for stage in stages][-1]


def run_stage(config: dict[str, Any], open_scorer: OpenScorer | None = None) -> Path:
    """Trains one stage, or returns at once where it is finished. Returns the folder of its model.

    Raises:
        ValueError: a key nobody reads. BlockingIOError: another process trains in the folder.
    """
    config = check_stage(config, "configuration")
    folder = Path(config["output_dir"])
    with folder_lock(folder):
        if (folder / STAGE_FILE).is_file():
            logger.info("%s is finished, skipping it", folder)
        else:
            _train_stage(config, folder, open_scorer)
    return folder


@dataclass
class _Prepared:
    """A stage that is ready to train."""

    config: dict[str, Any]
    arguments: DeSa2VATrainingArguments
    model: DeSa2VAModel
    processor: Any
    start: StartWeights | None
    reader: LabelReader | None
    adapters: Any
    learning: list[str]
    objective: Objective
    checkpoint: str | None
    card: CardFacts | None
    trainer: DeSa2VATrainer


def _prepare(
    config: dict[str, Any],
    folder: Path,
    begun: tuple[DeSa2VAModel, Any] | None = None,
    dataset: Any = None,
    open_scorer: OpenScorer | None = None,
) -> _Prepared:
    """Everything before the first step; `begun` and `dataset` in place of what the configuration names."""
    set_seed(int(config.get("seed", 0)))
    given = open_stage(config, folder, open_scorer, dataset)
    arguments, dataset, validation, scorer = given.arguments, given.dataset, given.validation, given.scorer
    source = config.get("init_from") if begun is None else None
    model, processor = begun or start_model(config)
    start = StartWeights(str(source), model) if source else None
    model.to(arguments.device)
    for part in filter(None, (dataset, validation)):
        check_lengths(part, processor)
    with arguments.main_process_first(local=False):
        checkpoint = newest_checkpoint(folder)
    model, reader = _warm_model(config, model, processor, dataset, arguments, warm=checkpoint is None)
    learning, adapters = _free(model, reader, arguments)
    if given.data.feature_cache:
        keep_features(model.segmenter, given.data.feature_cache, list(filter(None, (dataset, validation))))
    objective = build_objective(model, arguments, given.mask_loss, processor, reader)
    load_heads(objective, source)
    card = CardFacts(config, dataset, validation) if begun is None else None
    trainer = DeSa2VATrainer(
        model=objective,
        args=arguments,
        auxiliary=_auxiliary(model, arguments),
        start=start,
        train_dataset=dataset,
        eval_dataset=validation,
        data_collator=Collator(processor, objective.every_frame, arguments.preprocess_device),
        scorer=None if scorer is None else lambda trained: scorer(trained, processor),
        callbacks=[TrainingMonitor(), *filter(None, [card]), *early_stopping(arguments)],
    )
    return _Prepared(
        config, arguments, model, processor, start, reader, adapters, learning, objective, checkpoint, card, trainer
    )


def _free(
    model: DeSa2VAModel, reader: LabelReader | None, arguments: DeSa2VATrainingArguments
) -> tuple[list[str], Any]:
    """Lets learn what the phase says, with adapters where the language model learns by LoRA. Returns names and
    peft's handle.
    """
    learning, adapters = free_parameters(model, trainable_prefixes(arguments)), None
    if arguments.phase in ("decoupling", "fusion") and arguments.language_model == "lora":
        adapters = attach_lora(model, arguments)
        if reader is not None:
            reader.without(adapters)
    check_precision(model)
    return learning, adapters


def train_steps(
    config: dict[str, Any], folder: Path, begun: tuple[DeSa2VAModel, Any], dataset: Any, callback: Any
) -> None:
    """The steps of a stage alone: nothing is finished or written but what the trainer writes into `folder`.

    Args:
        config: of the stage. begun: the model to start with, and its processor. dataset: to learn from.
        callback: of transformers' trainer.
    """
    trainer = _prepare(config, folder, begun, dataset).trainer
    trainer.add_callback(callback)
    trainer.train()


def _train_stage(config: dict[str, Any], folder: Path, open_scorer: OpenScorer | None) -> None:
    stage = _prepare(config, folder, open_scorer=open_scorer)
    trainer = stage.trainer
    started, cpu_started = time.time(), time.process_time()
    result = trainer.train(resume_from_checkpoint=stage.checkpoint)
    if trainer.state.global_step < trainer.state.max_steps and not stopped_early(trainer):
        raise InterruptedError(
            f"{folder}: stopped after step {trainer.state.global_step} of {trainer.state.max_steps}; repeat the "
            "command to go on"
        )
    facts: dict[str, Any] = {
        "seconds": round(time.time() - started, 1),
        "cpu_seconds": round(time.process_time() - cpu_started, 1),
        "timed_steps": trainer.state.global_step - checkpoint_step(stage.checkpoint),
    }
    if trainer.eval_dataset is not None:
        facts["validation"] = trainer.evaluate()
    end_reports(trainer)
    facts["learning_parameters"] = len(stage.learning)
    if stage.reader is not None:
        stage.reader.seen.gather()
    if is_sharded(trainer.model):
        _make_whole(stage)
    if trainer.is_world_process_zero():
        _finish(folder, stage, facts, result)
    trainer.accelerator.wait_for_everyone()


def _make_whole(stage: _Prepared) -> None:
    """Replaces a sharded model by a whole one, on the CPU of the first process; the others keep what they have. A
    collective call.

    The whole one is made as a resumed stage makes it: a model cannot be taken out of FSDP again.
    """
    state = whole_state(stage.trainer.model)
    if not stage.trainer.is_world_process_zero():
        return
    set_seed(stage.arguments.seed)
    model, stage.processor = start_model(stage.config)
    model, reader = _warm_model(stage.config, model, stage.processor, None, stage.arguments, warm=False)
    _, stage.adapters = _free(model, reader, stage.arguments)
    mask_loss = MaskLossArguments(**stage.config.get("mask_loss", {}))
    objective = build_objective(model, stage.arguments, mask_loss, stage.processor, reader)
    objective.load_state_dict(state)
    if reader is not None:
        reader.seen = stage.reader.seen
    stage.model, stage.reader, stage.objective = model, reader, objective


def _warm_model(
    config: dict[str, Any],
    model: DeSa2VAModel,
    processor: Any,
    dataset: Any,
    arguments: DeSa2VATrainingArguments,
    warm: bool,
) -> tuple[DeSa2VAModel, LabelReader | None]:
    """The model with start values (where nothing goes on) and the configuration's fields, and who reads its labels."""
    fields = {name: value for name, value in config.get("model", {}).items() if name not in LOADING}
    shapes = {name: fields[name] for name in SHAPE_FIELDS if name in fields}
    if any(value != getattr(model.config, name) for name, value in shapes.items()):
        model = with_fields(model, shapes)
    shared = not moves_language(model, trainable_prefixes(arguments))
    reader = LabelReader(model, processor.tokenizer, shared=shared) if _needs_reader(model, arguments) else None
    if warm:
        run_warm_start(model, processor, dataset, reader, arguments)
    if fields and config.get("init_from"):
        switch_seg_design(processor, model, fields)
        switch_image_size(processor, fields)
        model = with_fields(model, fields)
    if "num_reprompts" not in fields:
        model.config.num_reprompts = trained_reprompts(arguments.phase, model.config.num_reprompts)
    model.isolate_text(arguments.text_gradient == "isolated")
    if reader is None or not _needs_reader(model, arguments):
        return model, None
    if shared:  # what the warm start changed is read anew, and the model may be another one
        seen = reader.seen
        reader = LabelReader(model, processor.tokenizer, shared=True)
        reader.seen = seen
    return model, reader


def _merge(stage: _Prepared) -> dict[str, float | None]:
    """Puts adapters into the weights; W_l is corrected where the language model was moved."""
    model, reader = stage.model, stage.reader
    if reader is None or not reader.is_moved or stage.arguments.phase == "text_pretraining":
        merge_lora(model, stage.adapters)
        return {}
    phrases = reader.seen.phrases()
    if not phrases:
        merge_lora(model, stage.adapters)
        return {"label_refit": None}
    prompts = start_prompts(model, reader, phrases)
    merge_lora(model, stage.adapters)
    return {"label_refit": refit_label_projection(model, reader.tokenizer, phrases, prompts)}


def _needs_reader(model: DeSa2VAModel, arguments: DeSa2VATrainingArguments) -> bool:
    masks = arguments.phase in ("text_pretraining", "decoupling", "fusion")
    return masks and model.config.prompt_mode == "desa2va"


def _auxiliary(model: DeSa2VAModel, arguments: DeSa2VATrainingArguments) -> AuxiliaryNetworks | None:
    wanted = arguments.weights.get("adversarial", 0) > 0 or arguments.weights.get("club", 0) > 0
    if arguments.phase not in ("decoupling", "fusion") or model.config.prompt_mode != "desa2va" or not wanted:
        return None
    return AuxiliaryNetworks(
        model.config.prompt_dim,
        pairing=arguments.adversarial_pairing,
        adversarial_loss=arguments.adversarial_loss,
        num_components=arguments.club_components,
        queue_size=arguments.queue_size,
        hidden=arguments.auxiliary_hidden,
        log_variance_bound=arguments.club_log_variance_bound,
        club_start=arguments.club_start,
        spectral_norm=arguments.discriminator_spectral_norm,
        instance_noise=arguments.discriminator_noise,
        label_smoothing=arguments.discriminator_label_smoothing,
        gradient_penalty=arguments.discriminator_gradient_penalty,
    )


def _finish(folder: Path, stage: _Prepared, facts: dict[str, Any], result: Any) -> None:
    """Merges what LoRA learned and writes the model, its processor, what LoRA learned (`adapter/`) and what happened.

    `config.json`, without which nothing loads, is moved to its place after the weights, and `stage.json` last: its
    presence means finished.
    """
    model, config, trainer = stage.model, stage.config, stage.trainer
    if is_in_four_bits(model):
        stored, _ = start_model(config | {"model": {"dtype": config["model"].get("dtype", "float32")}})
        stage.adapters = in_full_precision(model, stage.adapters, stage.arguments, stage.start, stored.mllm)
    adapter = keep_adapter(model, stage.adapters, stage.start)
    record = _record(stage, facts | _merge(stage), result)
    summary = json.dumps(stage.card.summary(trainer.args, trainer.state, record), indent=2) + "\n"
    with writing(folder, "the model") as place:
        (place / SUMMARY_FILE).write_text(summary, encoding="utf-8")
        model.save_pretrained(place)
        stage.processor.save_pretrained(place)
        if adapter is not None:
            adapter.write(place / "adapter", model)
        save_heads(stage.objective, place)
        trainer.state.save_to_json(str(place / STATE_FILE))
        (place / STAGE_FILE).write_text(json.dumps(record, indent=2, default=str) + "\n", encoding="utf-8")
        move_files(place, folder, last=("config.json", STAGE_FILE))


def _record(stage: _Prepared, facts: dict[str, Any], result: Any) -> dict[str, Any]:
    """What `stage.json` says."""
    trainer = stage.trainer
    return {
        "config": stage.config,
        "method_version": METHOD_VERSION,
        **facts,
        "steps": trainer.state.global_step,
        "final": {key: value for key, value in result.metrics.items() if isinstance(value, int | float)},
        "warnings": warnings_of(trainer.state.log_history),
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


def main(arguments: list[str] | None = None, open_scorer: OpenScorer | None = None) -> int:
    """Command line: CONFIG, then any number of `section.key=value`; see `run_recipe`."""
    parser = argparse.ArgumentParser(prog="desa2va train", description=__doc__)
    parser.add_argument("config", help="a YAML file, or the name of a packaged configuration such as tiny")
    parser.add_argument(
        "overrides", nargs="*", help="section.key=value, e.g. training.max_steps=100 output_dir=runs/x"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would learn, what memory it takes, and draw the first batch"
    )
    parser.add_argument("--steps", type=integer(0), default=0, metavar="N", help="of a dry run: take and time N steps")
    options = parser.parse_intermixed_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    if threads := os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(int(threads))
    config = apply_overrides(read_config(options.config), options.overrides)
    if options.dry_run:
        from .dry_run import dry_run, told_plainly  # it trains with what stands here

        with told_plainly():
            folder = Path(config.get("output_dir", "runs/desa2va")) / "dry_run"
            return 0 if dry_run(resolve_stages(config), folder, options.steps) else 1
    run_recipe(config, open_scorer)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    return 0


if __name__ == "__main__":
    sys.exit(run_program("desa2va.training.train", main))
