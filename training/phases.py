"""The phases of METHOD section 5: which parameters learn in each, and which objective teaches them.

Enters: arguments and a model. Leaves: an `Objective` whose parameters are frozen or free as the phase says.

phase              learns
vision             (0) vision tower and projector of the language model
segmenter          (0) SAM-2, all of it but the parts SAM-2 itself never trains
grounding          (0) the language model, by captions, questions and where a `[SEG]` points
text_pretraining   (1) W_l and the text decoder
decoupling         (2) language model (LoRA, `[SEG]` rows; or in full), W_t, W_v, W_m, gate, visual decoder
fusion             (3) the same, re-prompting on
"""

from __future__ import annotations

from typing import Any

from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel

from .arguments import DeSa2VATrainingArguments, MaskLossArguments
from .label_states import LabelReader
from .objectives.base import Objective
from .objectives.grounding import GroundingObjective
from .objectives.masks import DecouplingObjective, TextPretrainingObjective
from .objectives.segmenter import SegmenterObjective
from .objectives.vision import VisionObjective

LANGUAGE = "mllm."
DECODERS = ("decoupling.text", "decoupling.visual", "decoupling.motion", "segmenter.visual_decoder", "fusion")
TRAINABLE = {
    "vision": ("mllm.model.vision_tower", "mllm.model.multi_modal_projector"),
    "segmenter": ("segmenter.sam",),
    "grounding": (LANGUAGE,),
    "text_pretraining": ("decoupling.label", "segmenter.text_decoder"),
    "decoupling": DECODERS,
    "fusion": DECODERS,
}
OBJECTIVES: dict[str, type[Objective]] = {
    "vision": VisionObjective,
    "segmenter": SegmenterObjective,
    "grounding": GroundingObjective,
    "text_pretraining": TextPretrainingObjective,
    "decoupling": DecouplingObjective,
    "fusion": DecouplingObjective,
}
# SAM-2's fixed frequencies: a constant of its architecture, stored as parameters.
NEVER = ("segmenter.sam.shared_image_embedding", "segmenter.sam.prompt_encoder.shared_embedding")


# What each phase is allowed to move where the language model learns in full; the tests hold every phase to it.
PHASES_LEARN = {
    phase: ((LANGUAGE, *prefixes) if phase in ("decoupling", "fusion") else prefixes)
    for phase, prefixes in TRAINABLE.items()
}


def trainable_prefixes(arguments: DeSa2VATrainingArguments) -> tuple[str, ...]:
    """Prefixes of the parameters that learn."""
    if arguments.trainable is not None:
        return tuple(arguments.trainable)
    return (PHASES_LEARN if arguments.language_model == "full" else TRAINABLE)[arguments.phase]


def free_parameters(model: DeSa2VAModel, prefixes: tuple[str, ...]) -> list[str]:
    """Lets exactly the parameters under `prefixes` learn, freezes the rest.

    Returns:
        The names that learn.

    Raises:
        ValueError: a prefix that names nothing.
    """
    names = [name for name, _ in model.named_parameters()]
    for prefix in prefixes:
        if not any(name.startswith(prefix) for name in names) and not prefix.startswith(("decoupling", "fusion")):
            raise ValueError(f"trainable prefix {prefix!r} names no parameter of the model")
    learning = []
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(prefixes) and not name.startswith(NEVER))
        if parameter.requires_grad:
            learning.append(name)
    return learning


def moves_language(model: DeSa2VAModel, prefixes: tuple[str, ...]) -> bool:
    """Whether weights of the language layers are among those under `prefixes`."""
    layers = {id(parameter) for parameter in model.mllm.model.language_model.parameters()}
    return any(id(parameter) in layers and name.startswith(prefixes) for name, parameter in model.named_parameters())


def validated_names(arguments: DeSa2VATrainingArguments) -> set[str]:
    """What a validation set is measured by in a phase: `loss`, every term, and the metrics."""
    objective, weights = OBJECTIVES[arguments.phase], arguments.weights
    terms = {name for name in objective.weighed_terms if weights.get(name, 0) > 0} | set(objective.terms)
    return {"loss", *(f"loss_{name}" for name in terms), *objective.metrics}


def build_objective(
    model: DeSa2VAModel,
    arguments: DeSa2VATrainingArguments,
    mask_loss_arguments: MaskLossArguments,
    processor: Any,
    reader: LabelReader | None,
) -> Objective:
    """The objective of `arguments.phase`."""
    if arguments.phase == "vision":
        return VisionObjective(model)
    if arguments.phase == "segmenter":
        teacher_steps = int(arguments.teacher_fraction * arguments.max_steps)
        named = arguments.weights.get("named_mask", 0) > 0
        return SegmenterObjective(model, mask_loss_arguments, teacher_steps, named=named)
    if arguments.phase == "grounding":
        return GroundingObjective(model, processor.tokenizer)
    if arguments.phase == "text_pretraining":
        return TextPretrainingObjective(model, mask_loss_arguments, reader)
    reprompts = None if arguments.phase == "fusion" else 0
    return DecouplingObjective(
        model,
        mask_loss_arguments,
        reader,
        arguments.weights,
        reprompts,
        arguments.shuffled_share,
        arguments.orthogonality_center,
        arguments.queue_size,
    )


__all__ = [
    "PHASES_LEARN",
    "build_objective",
    "free_parameters",
    "moves_language",
    "trainable_prefixes",
    "validated_names",
]
