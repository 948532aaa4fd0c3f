"""Do the parts of a model belong together? What `load` makes sure of and `desa2va doctor` shows.

Enters: a model's folder before anything is built, or a model and its processor. Leaves: nothing, or one sentence that
says what is wrong. All of it is cheap: sizes of files, shapes, and a sample of the weights. (Engineering; no paper
section.)
"""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from desa2va.configuration.configuration_desa2va import DeSa2VAConfig
from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel

SECTIONS = {"mllm_config": ("model_type", "text_config", "vision_config"), "sam_config": ("vision_config",)}
SAMPLE = 2**20  # numbers looked at of each tensor
_PACKED = 4  # parameters that a quantised checkpoint may hold in one number, and room for tied ones
_SPARE = 1_000_000


def check_configuration(folder: Path) -> None:
    """Raises `ValueError` unless config.json says what is to be built, and that is what the weights are of.

    Defaults of a section that is missing describe a model of twelve billion parameters, which would be built before
    anything was compared.
    """
    path = folder / "config.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    if content.get("model_type") != DeSa2VAConfig.model_type:
        raise ValueError(f"{path} is of a model of type {content.get('model_type')!r:.40}, not 'desa2va'")
    for name, inner in SECTIONS.items():
        section = content.get(name)
        missing = [key for key in inner if not isinstance(section, dict) or not section.get(key)]
        if missing:
            raise ValueError(f"{path}: {name} lacks {', '.join(missing)}; take another copy of the model")
    stored = 0
    for weights in folder.glob("*.safetensors"):
        with safe_open(weights, "pt") as file:
            stored += sum(prod(file.get_slice(key).get_shape()) for key in file.keys())  # noqa: SIM118
    with torch.device("meta"):
        described = DeSa2VAModel(DeSa2VAConfig.from_pretrained(folder)).num_parameters()
    if described > _PACKED * stored + _SPARE:
        raise ValueError(
            f"{path} describes a model of {described / 1e6:.1f} million parameters, the weights beside it hold "
            f"{stored / 1e6:.1f} million numbers"
        )


def check_together(model: Any, processor: Any, path: str) -> None:
    """Raises `ValueError` where processor and model disagree, or the weights are damaged.

    Looked at: the segmentation tokens, SAM-2's input size, tokens of a tile, whether the chat template can be
    rendered, and up to `SAMPLE` numbers of every tensor (`desa2va doctor` looks at all of them).
    """
    config = model.config
    pairs = {
        "the ids of [SEG]": (list(processor.seg_token_ids), list(config.seg_token_ids)),
        "seg_design": (processor.seg_design, config.seg_design),
        "num_seg_frames": (processor.num_seg_frames, config.num_seg_frames),
        "SAM-2's input size": (processor.sam_image_processor.size["height"], config.image_size),
        "mllm_type": (processor.mllm_type, config.mllm_config.model_type),
    }
    if processor.mllm_type == "internvl":
        pairs["image_seq_length"] = processor.image_seq_length, config.mllm_config.image_seq_length
    for name, (found, known) in pairs.items():
        if found != known:
            raise ValueError(f"{path}: {name} differs, {found} in the processor, {known} in config.json")
    processor.assembler.encoder.template(("user",), True)
    broken = not_finite(model, SAMPLE)
    if broken:
        raise ValueError(f"{path}: weights are no finite numbers: {', '.join(broken[:3])} ({len(broken)} tensors)")


def not_finite(model: Any, sample: int | None = None) -> list[str]:
    """Names of the tensors that hold NaN or an infinite number.

    Args:
        model: any module; tensors without values (offloaded) or of a kind of their own (quantised: codes, always
            finite) are passed over.
        sample: numbers looked at of each tensor, spread evenly; all when `None`.
    """
    broken = []
    for name, tensor in model.state_dict().items():
        if (
            type(tensor) not in (torch.Tensor, torch.nn.Parameter)
            or tensor.is_meta
            or not tensor.is_floating_point()
            or not tensor.numel()
        ):
            continue
        step = 1 if sample is None else max(1, tensor.numel() // sample)
        seen = tensor if step == 1 else tensor.flatten()[::step]
        if not seen.isfinite().all():
            broken.append(name)
    return broken


__all__ = ["check_configuration", "check_together", "not_finite"]
