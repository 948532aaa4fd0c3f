"""The same steps of eight samples by one process, by two, and accumulated one by one, in float64: there a fault and
rounding, which Adam and a division by small gradients enlarge, are ten orders of magnitude apart.

Run as a program with a folder; prints one JSON: how far each is from the first, as a share of the largest number, and
the terms that were there.
"""

import json
import os
import sys
import traceback
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch.overrides import TorchFunctionMode
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
    "logging_steps": 1,
    "train_sampling_strategy": "sequential",
    "learning_rate": 1e-3,
    "auxiliary_learning_rate": 1e-2,  # q has three steps to learn something
    "club_start": 0,
    "adversarial_warmup": 0,
    "discriminator_noise": 0.0,
    "weights": {"language": 1.0, "visual_mask": 1.0, "text_mask": 0.5, "fused_mask": 1.0, "alignment": 0.1, "iou": 0.1}
    | {"object_score": 0.1, "adversarial": 1.0, "club": 10.0, "orthogonality": 1.0},
}


class InDouble(TorchFunctionMode):
    """What asks for float32 gets float64."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        def wide(value):
            return torch.float64 if value is torch.float32 else value

        function = torch.Tensor.double if function is torch.Tensor.float else function
        return function(*map(wide, args), **{name: wide(value) for name, value in (kwargs or {}).items()})


def in_double():
    """From here on everything is float64; and orthogonality and alignment, which in the first step of a training
    know the objects of a micro-batch only, have something to remember.
    """
    torch.set_default_dtype(torch.float64)
    InDouble().__enter__()
    start, build, prepare = train.start_model, train.build_objective, train.DeSa2VATrainer._prepare_inputs

    def start_model(config):
        model, processor = start(config)
        return model.double(), processor

    def build_objective(*args):
        objective = build(*args).double()
        rows = torch.randn(2, 16, objective.memory.rows.shape[-1], generator=torch.Generator().manual_seed(0))
        objective.memory.add(*rows)
        objective.label_statistics.observe(rows[0])
        return objective

    def prepare_inputs(self, inputs):
        inputs = prepare(self, inputs)
        floats = {
            name: value for name, value in inputs.items() if torch.is_tensor(value) and value.is_floating_point()
        }
        return {**inputs, **{name: value.double() for name, value in floats.items()}}

    def wide(value):
        return value.double() if torch.is_tensor(value) and value.is_floating_point() else value

    train.start_model, train.build_objective = start_model, build_objective
    train.DeSa2VATrainer._prepare_inputs = prepare_inputs


def alone(folder, training):
    training = {name: value for name, value in training.items() if name != "ddp_backend"}
    child = os.fork()
    if child == 0:
        code = 1
        try:
            in_double()
            train.run_stage({**CONFIG, "training": training, "output_dir": str(folder)})
            code = 0
        except Exception:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def numbers(folder):
    """Weights and Adam's moments of the model, of the auxiliary networks, and what these remember."""
    checkpoint = folder / "checkpoint-3"
    weights = load_file(checkpoint / "objective.safetensors")
    state = read_state(checkpoint / "auxiliary.safetensors")
    optimizer = torch.load(checkpoint / "optimizer.pt", weights_only=True)
    moments = [[part["exp_avg"] for part in one["state"].values()] for one in (optimizer, state["optimizer"])]
    networks = state["networks"]
    remembered = {name for name in networks if "statistics" in name or "queue" in name}
    return {
        "weights": list(weights.values()),
        "gradients": moments[0],
        "networks": moments[1] + [value for name, value in networks.items() if name not in remembered],
        "statistics": [value for name, value in networks.items() if name in remembered],
    }


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


def terms(folder):
    """The largest value of every term in any step."""
    steps = json.loads((folder / "checkpoint-3" / "trainer_state.json").read_text())["log_history"]
    names = {name for step in steps for name in step if name.startswith("loss_")}
    return {name: max(step.get(name, 0.0) for step in steps) for name in names}


def main(base):
    together = {"per_device_train_batch_size": 8}
    halves = {"per_device_train_batch_size": 4}
    singles = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 8}
    report = {
        "ended": [
            alone(base / "1x8", {**TRAINING, **together}),
            pair(base / "2x4", {**TRAINING, **halves}, in_double, CONFIG),
            alone(base / "8x1", {**TRAINING, **singles}),
        ],
        "terms": terms(base / "1x8"),
    }
    report |= {name: apart(base / "1x8", base / name) for name in ("2x4", "8x1")}
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
