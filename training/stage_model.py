"""The model a stage begins with: loaded or fresh, under the fields its configuration names, with its throw-away heads.

Enters: a stage's configuration. Leaves: a model, its processor, and an objective that goes on where the stage before
ended.
"""

from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import Any

import torch

from desa2va.configuration.presets import preset_config
from desa2va.hub import load, resolve
from desa2va.modeling_desa2va.decoupling import Projection
from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel
from desa2va.modeling_desa2va.precision import HALF_DTYPES
from desa2va.processing.processing_desa2va import DeSa2VAProcessor
from desa2va.published import published_kind

from .data.wording import SINGLE_ANSWER
from .objectives.base import Objective
from .processors import preset_processor
from .quantized_base import four_bits, is_in_four_bits, tell_peft
from .recipe_file import PUBLISHED
from .state_file import find_state, read_state, write_state
from .vocabulary import learn_words, missing_words

logger = logging.getLogger(__name__)
HEADS_FILE = "heads/heads.safetensors"  # in a folder of their own: what lies beside config.json is the model's
LOADING = ("preset", "dtype", "quantization")  # of section `model`: how it is loaded, no fields of its configuration
SHAPE_FIELDS = ("projection", "projection_rank", "projection_hidden")


def start_model(config: dict[str, Any]) -> tuple[DeSa2VAModel, DeSa2VAProcessor]:
    """The model a stage begins with: `init_from` as it was saved or published, or a fresh one of the preset with the
    fields of `model`.

    Raises:
        ValueError: published weights that are no model yet, or ways to read them beside a start that is none. See
            `desa2va.load`.
    """
    fields = dict(config.get("model", {}))
    preset, dtype = fields.pop("preset", "tiny"), stage_dtype(config)
    fields.pop("dtype", None)
    source, reading = config.get("init_from"), {key: config[key] for key in PUBLISHED if config.get(key)}
    quantized = {"quantization_config": four_bits(dtype)} if fields.pop("quantization", None) == "nf4" else {}
    if (reading or quantized) and not source:
        given = " and ".join([*reading, *(["model.quantization"] if quantized else [])])
        raise ValueError(f"{given} say how stored weights are read: name them as init_from")
    if source and (reading or published_kind(source) is not None):
        model, processor = load(source, device="cpu", dtype=dtype, **quantized, **reading)
        del model.processor  # the stage saves both
        return tell_peft(model), processor
    if source:
        source = resolve(source)
        model = DeSa2VAModel.from_pretrained(source, dtype=dtype, **quantized)
        processor = DeSa2VAProcessor.from_pretrained(source)
    else:
        processor = preset_processor(preset, fields)
        model = DeSa2VAModel(preset_config(preset, seg_token_ids=processor.seg_token_ids, **fields)).to(dtype)
    learn_words(model, processor, missing_words(config.get("data", {}), processor))
    model.config.answer_draft = processor.assembler.encoder.answer(SINGLE_ANSWER)
    return (tell_peft(model) if source else model), processor


def stage_dtype(config: dict[str, Any]) -> torch.dtype:
    """The data type a stage's language model is loaded in."""
    return getattr(torch, config.get("model", {}).get("dtype", "float32"))


def check_precision(model: DeSa2VAModel) -> None:
    """Raises `ValueError` where something in half precision would learn: its steps would be rounded away."""
    half = [name for name, value in model.named_parameters() if value.requires_grad and value.dtype in HALF_DTYPES]
    if half:
        raise ValueError(
            f"model.dtype is a half precision in which {len(half)} weights would learn, e.g. {half[0]}: set "
            "training.language_model to lora or frozen (and trainable accordingly), or model.dtype to float32 with "
            "training.bf16=true"
        )


def trained_reprompts(phase: str, num_reprompts: int) -> int:
    """Re-prompts of a model in and after `phase`, where its configuration names no number.

    Phase 2 trains none, and an untrained one costs about ten points of cIoU: its model uses none. Phase 3 brings the
    paper's one back (Eq. 11).
    """
    return {"decoupling": 0, "fusion": max(num_reprompts, 1)}.get(phase, num_reprompts)


def with_fields(model: DeSa2VAModel, fields: dict[str, Any]) -> DeSa2VAModel:
    """The model under a configuration with other `fields`; parts that both have keep their weights.

    Called after the warm start, so that a baseline (`prompt_mode="sa2va"`) can begin from what text pre-training
    taught; with the fields that shape projections before it, so that it finds those that will learn. A projection of
    another shape starts afresh, whole, with variance-preserving weights.
    """
    config = copy.deepcopy(model.config)
    for name, value in fields.items():
        setattr(config, name, value)
    config.check()
    changed = DeSa2VAModel(config).to(model.dtype)
    if is_in_four_bits(model):  # codes and scales are no weights of a shape
        changed.mllm = model.mllm
    own, old = changed.state_dict(), model.state_dict()
    kept = {name: value for name, value in old.items() if name in own and own[name].shape == value.shape}
    for name, projection in changed.decoupling.named_children():
        prefix = f"decoupling.{name}."
        shapes = [{key: value.shape for key, value in state.items() if key.startswith(prefix)} for state in (own, old)]
        if isinstance(projection, Projection) and shapes[0] != shapes[1]:
            logger.info("%s starts afresh: the model it comes from has none of this shape", prefix[:-1])
            _start_afresh(projection)
            kept = {key: value for key, value in kept.items() if not key.startswith(prefix)}
    changed.load_state_dict({**own, **kept})
    return changed.to(model.device)


@torch.no_grad()
def _start_afresh(projection: Projection) -> None:
    """A deviation of .02 leaves a narrow network almost blind to its prompts, and a product of two such matrices any
    network.
    """
    for layer in projection.layers:
        if isinstance(layer, torch.nn.Linear):
            torch.nn.init.normal_(layer.weight, std=layer.in_features**-0.5)


def load_heads(objective: Objective, source: str | None) -> None:
    """Continues with the throw-away heads of the stage before, where it had the same: fresh ones would first
    unteach.
    """
    path = find_state(source, HEADS_FILE) if source else None
    if path is None:
        return
    own = objective.state_dict()
    saved = read_state(path)
    fitting = {name: value for name, value in saved.items() if name in own and own[name].shape == value.shape}
    objective.load_state_dict({**own, **fitting})


def save_heads(objective: Objective, folder: Path) -> None:
    """Keeps the throw-away heads for the next stage, where there are any."""
    left_out = ("model.", "memory.", "label_statistics.", "step")  # what a training remembers is no head
    heads = {name: value for name, value in objective.state_dict().items() if not name.startswith(left_out)}
    if heads:
        (folder / HEADS_FILE).parent.mkdir()
        write_state(heads, folder / HEADS_FILE)


__all__ = [
    "HEADS_FILE",
    "LOADING",
    "SHAPE_FIELDS",
    "check_precision",
    "load_heads",
    "save_heads",
    "stage_dtype",
    "start_model",
    "trained_reprompts",
    "with_fields",
]
