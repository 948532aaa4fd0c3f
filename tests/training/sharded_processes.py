"""Trains one ragged stage in two processes, whole (DDP) and sharded (FSDP2).

Run as a program with a folder; prints one JSON.
"""

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import torch
import torch._dynamo  # which FSDP2 imports at its first step: here once, before the processes part
from safetensors.torch import load_file
from two_processes import CONFIG, RESUMES, pair

from desa2va.hub import load
from desa2va.training import train
from desa2va.training.data.refshapes import RefShapes
from desa2va.training.data.sample import Conversation, Sample

TRAINING = {
    "phase": "decoupling",
    "language_model": "lora",
    "lora_rank": 4,
    "max_steps": 3,
    "save_steps": 2,
    "logging_steps": 1,
    "train_sampling_strategy": "sequential",
    "learning_rate": 1e-4,
    "club_start": 0,
    "adversarial_warmup": 0,
    "weights": {
        "language": 1.0,
        "visual_mask": 1.0,
        "fused_mask": 1.0,
        "text_mask": 0.5,
        "iou": 0.1,
        "club": 0.1,
        "adversarial": 0.1,
        "orthogonality": 0.1,
    },
}
FULL = TRAINING | {
    "phase": "fusion",
    "language_model": "full",
    "gradient_checkpointing": True,
    "max_steps": 2,
    "save_strategy": "no",
}
VALIDATED = CONFIG | {"data": {"validation": {"dataset": "refshapes", "options": {"length": 4, "conversations": 1}}}}
# What `accelerate launch --config_file examples/accelerate/fsdp2.yaml` sets.
FSDP = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_CPU_RAM_EFFICIENT_LOADING": "false"}


class Ragged(torch.utils.data.Dataset):
    """Three steps of two processes with two samples each: words alone for the second, for the first, for both."""

    def __init__(self):
        self.pictures = RefShapes("train", conversations=2, length=12)

    def __len__(self):
        return 12

    def __getitem__(self, index):
        if index // 2 in (0, 3):
            return self.pictures[index]
        talk = Conversation(
            (("What is blue?", "The square." if index % 2 else "A star."),), np.zeros((0, 0, 0, 0), bool)
        )
        return Sample(None, (talk,), name=f"words/{index}")


def ragged(*_):
    return Ragged()


def sharded():
    train.build_dataset = ragged
    os.environ |= FSDP


def whole():
    train.build_dataset = ragged


def losses(folder):
    history = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in entry.items() if "loss" in name} for entry in history if "loss" in entry]


def main(base):
    kinds = {"ddp": whole, "fsdp": sharded}
    report = {kind: pair(base / kind, TRAINING, prepare, VALIDATED) for kind, prepare in kinds.items()}
    stages = {kind: json.loads((base / kind / train.STAGE_FILE).read_text()) for kind in kinds}
    report["validation"] = {kind: stage["validation"]["eval_loss"] for kind, stage in stages.items()}
    report["losses"] = {name: losses(base / name) for name in ("ddp", "fsdp")}
    weights = {name: load_file(base / name / "model.safetensors") for name in ("ddp", "fsdp")}
    report["names"] = [sorted(state) == sorted(weights["ddp"]) for state in weights.values()]
    report["apart"] = max(float((weights["ddp"][name] - value).abs().max()) for name, value in weights["fsdp"].items())
    report["loads"] = type(load(base / "fsdp", device="cpu")[0]).__name__
    held = [load_file(base / kind / "checkpoint-2" / "objective.safetensors") for kind in kinds]
    report["stored"] = [{name: list(value.shape) for name, value in state.items()} for state in held]
    report["shards"] = sorted(path.name for path in (base / "fsdp" / "checkpoint-2" / "optimizer_0").glob("*"))
    report["full"] = {kind: pair(base / "full" / kind, FULL, prepare) for kind, prepare in kinds.items()}
    report["full losses"] = {kind: losses(base / "full" / kind) for kind in kinds}
    if RESUMES:
        shutil.copytree(base / "fsdp" / "checkpoint-2", base / "again" / "checkpoint-2")
        report["resumed"] = pair(base / "again", TRAINING, sharded, VALIDATED)
        contents = [(base / name / "model.safetensors").read_bytes() for name in ("fsdp", "again")]
        report["equal"] = contents[0] == contents[1]
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
