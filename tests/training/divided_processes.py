"""The same steps of four samples by one process, by two, and accumulated one by one.

Run as a program with a folder; prints one JSON: how far each is from the first, as a share of the largest number.
"""

import json
import os
import sys
import traceback
from pathlib import Path

import torch
from two_processes import COMMON, pair

from desa2va.training import train
from desa2va.training.state_file import read_state

CONFIG = {
    "init_from": "desa2va-tiny",
    "mask_loss": {"mask_target_size": 32},
    "data": {"options": {"conversations": 2}},
}
TRAINING = COMMON | {
    "phase": "decoupling",
    "language_model": "lora",
    "lora_rank": 4,
    "max_steps": 3,
    "save_steps": 3,
    "train_sampling_strategy": "sequential",
    # Adam's first step is the sign of a gradient: at rates that move nothing its moments tell the gradients.
    "learning_rate": 1e-9,
    "auxiliary_learning_rate": 1e-9,
    "max_grad_norm": 0.0,
    "club_start": 0,
    "adversarial_warmup": 0,
    "discriminator_noise": 0.0,
    "discriminator_spectral_norm": False,  # its power iteration moves at every look
    "weights": {"language": 1.0, "visual_mask": 1.0, "text_mask": 0.5, "fused_mask": 1.0, "adversarial": 1.0},
}
CLUB = {"weights": TRAINING["weights"] | {"club": 10.0}}


def alone(folder, training):
    training = {name: value for name, value in training.items() if name != "ddp_backend"}
    child = os.fork()
    if child == 0:
        code = 1
        try:
            train.run_stage({**CONFIG, "training": training, "output_dir": str(folder)})
            code = 0
        except Exception:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def numbers(folder):
    """Adam's first moments of the model and of the auxiliary networks, and what these remember."""
    checkpoint = folder / "checkpoint-3"
    state = read_state(checkpoint / "auxiliary.safetensors")
    optimizers = {
        "gradients": torch.load(checkpoint / "optimizer.pt", weights_only=True),
        "networks": state["optimizer"],
    }
    remembered = [value for name, value in state["networks"].items() if "statistics" in name or "queue" in name]
    moments = {
        kind: [part["exp_avg"] for part in optimizer["state"].values()] for kind, optimizer in optimizers.items()
    }
    return moments | {"statistics": remembered}


def apart(folder, other):
    """Largest difference as a share of the largest number, of each kind."""
    first, second = numbers(folder), numbers(other)
    return {
        kind: max(
            float((a - b).abs().max()) / max(float(a.abs().max()), 1e-3)
            for a, b in zip(first[kind], second[kind], strict=True)
        )
        for kind in first
    }


def main(base):
    together = {"per_device_train_batch_size": 4}
    halves = {"per_device_train_batch_size": 2}
    singles = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 4}
    report = {
        "ended": [
            alone(base / "1x4", {**TRAINING, **CLUB, **together}),
            pair(base / "2x2", {**TRAINING, **CLUB, **halves}, config=CONFIG),
            alone(base / "plain", {**TRAINING, **together}),
            alone(base / "4x1", {**TRAINING, **singles}),
        ]
    }
    report |= {"2x2": apart(base / "1x4", base / "2x2"), "4x1": apart(base / "plain", base / "4x1")}
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
