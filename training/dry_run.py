"""`desa2va train CONFIG --dry-run`: what a training would learn, take and see, before it takes a GPU.

Enters: a configuration, whose start and data need not be there. Leaves, per stage: parameters by part, memory with its
arithmetic, time where steps were measured, and the first batch as a picture with the answers that are learned.
(Engineering; no paper section.)
"""

from __future__ import annotations

import copy
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from desa2va.configuration.configuration_desa2va import DeSa2VAConfig
from desa2va.configuration.presets import TINY_TOKEN_IDS, preset_config
from desa2va.hub import resolve
from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel
from desa2va.processing.processing_desa2va import DeSa2VAProcessor

from .arguments import DataArguments, DeSa2VATrainingArguments
from .batch_picture import draw_batch
from .data.build import build_dataset
from .data.refshapes import RefShapes
from .data.streams import samples_in_order
from .feature_cache import check_room
from .language_adapters import attach_lora
from .memory import DIVIDED, GIB, SPARE, BatchSizes, Estimate, estimate_memory
from .phases import free_parameters, trainable_prefixes
from .processors import shape_processor, switch_image_size
from .stage_inputs import training_arguments
from .stage_model import LOADING, start_model, trained_reprompts
from .train import train_steps

logger = logging.getLogger(__name__)
SHOWN_PROCESSES = 8


def dry_run(stages: list[dict[str, Any]], folder: Path, steps: int = 0) -> bool:
    """Looks at every stage of a recipe.

    Args:
        stages: of `resolve_stages`. folder: for the pictures. steps: optimizer steps to take and to time in each, from
            the stage's start where it is a folder, else from random weights.

    Returns:
        Whether every stage fits the device.
    """
    start = stages[0].get("init_from")
    fits = True
    for stage in stages:
        # A stage that starts from one before it, which is not there yet, has that one's shape.
        here = Path(str(stage.get("init_from"))).is_dir()
        fits &= _dry_stage(stage if here else stage | {"init_from": start}, folder, steps)
    return fits


def _dry_stage(stage: dict[str, Any], folder: Path, steps: int) -> bool:
    name = stage.get("name", "stage")
    config = plain_stage(stage)
    with tempfile.TemporaryDirectory() as place:
        arguments = training_arguments(config, Path(place), int(config.get("seed", 0)))
        model, processor, told = _shape(config)
        dataset, missing = _data(config, arguments)
        say = logger.info
        say("%s: phase %s, %s", name, arguments.phase, told)
        model.config.num_reprompts = trained_reprompts(arguments.phase, model.config.num_reprompts)
        free_parameters(model, trainable_prefixes(arguments))
        if arguments.phase in ("decoupling", "fusion") and arguments.language_model == "lora":
            attach_lora(model, arguments)
        for line in parameter_lines(model):
            say("%s", line)
        if missing:
            say("data: %s; RefShapes stand in", missing.split(";")[0])
        length = len(dataset) if hasattr(dataset, "__len__") else None
        count = arguments.per_device_train_batch_size
        samples = list(islice(samples_in_order(dataset), count if length is None else min(count, length)))
        batch = processor.collate(samples)
        cache = config.get("data", {}).get("feature_cache")
        if cache and not missing:
            say("%s", check_room(model.segmenter, cache, [dataset]))
        picture = draw_batch(samples, batch, processor, folder / f"{name}.png")
        say("first batch: %s", picture)
        four_bits = config.get("model", {}).get("quantization") == "nf4"
        estimate = estimate_memory(model, arguments, sizes_of(batch), four_bits)
        fits = _say_memory(estimate, arguments)
        _say_longest(estimate, model, arguments, sizes_of(batch), processor.max_length)
        if steps and fits:
            begun = _weights_for(config, model, processor)
            seconds = measured(config, Path(place), begun, dataset, steps)
            _say_time(seconds, arguments, None if missing else length)
        else:
            say("time: not measured; --steps N takes and times N steps")
    return fits


# ------------------------------------------------------------------------------------------------ what there is


def plain_stage(stage: dict[str, Any]) -> dict[str, Any]:
    """A stage without what needs weights or writes: warm start, logs, evaluation, checkpoints."""
    config = copy.deepcopy(stage)
    without = {"warm_start": [], "report_to": "none", "eval_strategy": "no", "load_best_model_at_end": False}
    without |= {"early_stopping_patience": None}
    config["training"] = config.get("training", {}) | without | {"save_strategy": "no", "disable_tqdm": True}
    if not torch.cuda.is_available():
        config["training"] |= {"use_cpu": True, "dataloader_num_workers": 0}
    return config


def _known(source: str | os.PathLike | None) -> bool:
    """Whether a start can be read without a download: a folder or a shipped model."""
    return source is not None and (Path(source).is_dir() or str(source).startswith("desa2va-"))


def _shape(config: dict[str, Any]) -> tuple[DeSa2VAModel, DeSa2VAProcessor, str]:
    """The stage's model on the meta device, in the types it would be loaded in, and a processor.

    Raises:
        ValueError: the start is not here, and no preset says its shape.
    """
    fields = config.get("model", {})
    source, dtype = config.get("init_from"), getattr(torch, fields.get("dtype", "float32"))
    own = {key: value for key, value in fields.items() if key not in LOADING}
    if _known(source) and (Path(resolve(source)) / "config.json").is_file() and not config.get("sam2"):
        shape = DeSa2VAConfig.from_pretrained(resolve(source))
        for key, value in own.items():
            setattr(shape, key, value)
        processor, told = DeSa2VAProcessor.from_pretrained(resolve(source)), f"from {source}"
    elif preset := fields.get("preset"):
        processor = shape_processor(preset)
        shape = preset_config(preset, seg_token_ids=processor.seg_token_ids, **own)
        shape.mllm_config.image_token_id = TINY_TOKEN_IDS["image"]
        told = f"shape of preset {preset}" + (f"; {source} is not looked at" if source else "")
    else:
        raise ValueError(f"{source} is no folder here, so a dry run needs its shape: model.preset, e.g. 1b")
    switch_image_size(processor, own)
    with torch.device("meta"):
        return DeSa2VAModel(shape).to(dtype), processor, told


def _data(config: dict[str, Any], arguments: DeSa2VATrainingArguments) -> tuple[Any, str]:
    """The stage's data; where they are not here made-up ones, and what is missing."""
    data = DataArguments(**{"seed": int(config.get("seed", 0)), **config.get("data", {})})
    try:
        return build_dataset(data, arguments), ""
    except FileNotFoundError as error:
        return RefShapes("train", level="standard", conversations=2, length=64), str(error)


def _weights_for(config: dict[str, Any], model: DeSa2VAModel, processor: Any) -> tuple[DeSa2VAModel, Any]:
    """The start itself, or random weights of its shape."""
    if _known(config.get("init_from")):
        return start_model(config)
    logger.info("random weights are made, and steps are taken with them")
    torch.manual_seed(0)
    made = DeSa2VAModel(model.config)
    made.segmenter.copy_decoders()
    return made.to(getattr(torch, config.get("model", {}).get("dtype", "float32"))), processor


# ------------------------------------------------------------------------------------------------ figures


def parameter_lines(model: DeSa2VAModel) -> Iterator[str]:
    """Total and learning parameters, by part."""
    rows: dict[str, list[int]] = {}
    for name, value in model.named_parameters():
        parts = name.split(".")
        part = ".".join(parts[:2]) if parts[0] in ("segmenter", "decoupling") else parts[0]
        part = f"{part} (LoRA, rows)" if "lora_" in name or "trainable_tokens" in name else part
        row = rows.setdefault(part, [0, 0])
        row[0], row[1] = row[0] + value.numel(), row[1] + value.requires_grad * value.numel()
    rows["sum"] = [sum(row[0] for row in rows.values()), sum(row[1] for row in rows.values())]
    yield f"  {'part':<28}{'parameters':>16}{'learning':>16}"
    for part, (total, learning) in rows.items():
        yield f"  {part:<28}{total:>16,}{learning:>16,}"


def sizes_of(batch: dict[str, Any]) -> BatchSizes:
    """What of a collated batch decides about memory."""
    sequences, tokens = batch["input_ids"].shape
    answers = int((batch["labels"][:, 1:] != -100).sum())
    frames = len(batch["sam_pixel_values"]) if batch.get("sam_pixel_values") is not None else 0
    return BatchSizes(sequences, tokens, answers, frames, sum(len(masks) for masks in batch["mask_labels"]))


def device_memory(device: torch.device) -> float:
    """Bytes of the device: of a GPU its own, of the CPU the machine's."""
    if device.type == "cuda":
        return float(torch.cuda.get_device_properties(device).total_memory)
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def _say_longest(
    estimate: Estimate, model: DeSa2VAModel, arguments: DeSa2VATrainingArguments, sizes: BatchSizes, longest: int
) -> None:
    """The same for a batch whose sequences are as long as the processor lets them be."""
    if "language" in estimate.parts:
        most = estimate_memory(model, arguments, replace(sizes, tokens=longest)).parts["language"][0]
        total = estimate.total + (1 + SPARE) * (most - estimate.parts["language"][0])
        logger.info("with sequences of %d tokens, the longest allowed: %.1f GiB", longest, total / GIB)


def _say_memory(estimate: Estimate, arguments: DeSa2VATrainingArguments) -> bool:
    """Tells the arithmetic. Returns whether it fits."""
    there = device_memory(arguments.device)
    logger.info("memory of one device, estimated:\n%s", "\n".join(estimate.lines()))
    shared = ", ".join(f"{way} {estimate.divided(way, SHOWN_PROCESSES) / GIB:.1f} GiB" for way in DIVIDED)
    logger.info("of each of %d devices: %s", SHOWN_PROCESSES, shared)
    if estimate.total <= there:
        logger.info("fits: %s has %.1f GiB", arguments.device, there / GIB)
        return True
    largest = max(estimate.parts, key=lambda name: estimate.parts[name][0])
    logger.error(
        "does not fit: %.1f GiB are needed and %s has %.1f; the largest part is %s. Lower "
        "per_device_train_batch_size, set gradient_checkpointing, model.dtype=bfloat16 or model.quantization=nf4",
        estimate.total / GIB,
        arguments.device,
        there / GIB,
        largest,
    )
    return False


class _Clock(TrainerCallback):
    """When every optimizer step ended."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        self.times.append(time.perf_counter())

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self.times.append(time.perf_counter())


def measured(config: dict[str, Any], folder: Path, begun: tuple[Any, Any], dataset: Any, steps: int) -> list[float]:
    """Takes optimizer steps of one batch each and forgets them. Returns the seconds of each."""
    config = copy.deepcopy(config)
    config["training"] |= {"max_steps": steps, "logging_strategy": "no", "gradient_accumulation_steps": 1}
    clock = _Clock()
    train_steps(config, folder, begun, dataset, clock)
    return [end - start for start, end in zip(clock.times, clock.times[1:], strict=False)]


def _say_time(seconds: list[float], arguments: DeSa2VATrainingArguments, length: int | None) -> None:
    later = seconds[1:] or seconds  # the first one warms up
    one = arguments.gradient_accumulation_steps * sum(later) / len(later)
    per_step = arguments.train_batch_size * arguments.gradient_accumulation_steps * arguments.world_size
    total = arguments.max_steps if arguments.max_steps > 0 else None
    if total is None and length is not None:
        total = round(length / per_step * arguments.num_train_epochs)
    whole = "" if total is None else f"; {total:,} steps take {one * total / 3600:.1f} hours like this"
    logger.info("time: %.2f seconds a step of %d samples, measured%s", one, per_step, whole)


@contextmanager
def told_plainly() -> Iterator[None]:
    """The report is the program's output: lines without time and name."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = True


__all__ = ["device_memory", "dry_run", "measured", "parameter_lines", "plain_stage", "sizes_of"]
