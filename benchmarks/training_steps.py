"""A training step of every phase, as the command runs it, from the shipped model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from desa2va.training.train import run_recipe

MASKS = {"language": 1.0, "visual_mask": 1.0, "text_mask": 0.5, "fused_mask": 1.0, "iou": 0.1, "object_score": 0.1}
EXTRAS = {**MASKS, "adversarial": 0.1, "club": 0.1, "orthogonality": 0.1, "alignment": 0.1}
MOTION = {**MASKS, "motion_invariance": 0.1, "motion_order": 0.1}
BASELINE = {name: weight for name, weight in MASKS.items() if name != "text_mask"}
VISION = {"dense": 1.0, "presence": 1.0}
SEGMENTER = dict.fromkeys(("prompt_mask", "named_mask", "memory_mask", "reread_mask", "dense", "iou"), 1.0)
GROUNDING = dict.fromkeys(("language", "grounding", "attention", "word"), 1.0)
CLIPS = {"options": {"level": "full", "conversations": 2, "length": 8, "video_fraction": 0.5, "num_frames": 3}}
STEPS: dict[str, dict[str, Any]] = {
    "vision": {"training": {"phase": "vision", "weights": VISION}},
    "segmenter": {"training": {"phase": "segmenter", "weights": SEGMENTER}, "data": CLIPS},
    "grounding": {"training": {"phase": "grounding", "weights": GROUNDING}},
    "text_pretraining": {"training": {"phase": "text_pretraining", "weights": {"label_mask": 1.0, "iou": 0.1}}},
    "decoupling": {"training": {"phase": "decoupling", "weights": EXTRAS, "language_model": "full", "max_steps": 2}},
    "baseline": {"training": {"phase": "decoupling", "weights": BASELINE}, "model": {"prompt_mode": "sa2va"}},
    "lora": {"training": {"phase": "decoupling", "weights": MASKS, "language_model": "lora", "lora_rank": 4}},
    "fusion": {"training": {"phase": "fusion", "weights": EXTRAS}, "model": {"fusion": "pixel"}},
    "motion": {"training": {"phase": "fusion", "weights": MOTION}, "model": {"temporal": "motion"}, "data": CLIPS},
}


def take_step(name: str, folder: Path, **training: Any) -> dict[str, Any]:
    """One step of `STEPS[name]` in `folder`, or two: discriminators see what the first one left.

    Args:
        name: of the step. folder: absent or empty. training: further training arguments, such as `bf16`.

    Returns:
        `loss`, `grad_norm` and the `device` it ran on.
    """
    step = STEPS[name]
    common = {"max_steps": 1, "per_device_train_batch_size": 2, "logging_steps": 1, "language_model": "frozen"}
    common |= {"save_strategy": "no", "disable_tqdm": True}
    fields = {**step, "training": {**common, **step["training"], **training}}
    out = run_recipe({"output_dir": str(folder), "init_from": "desa2va-tiny", **fields})
    first = json.loads((out / "trainer_state.json").read_text())["log_history"][0]
    device = json.loads((out / "stage.json").read_text())["device"]
    return {"loss": first["loss"], "grad_norm": first["grad_norm"], "device": device}


__all__ = ["STEPS", "take_step"]
