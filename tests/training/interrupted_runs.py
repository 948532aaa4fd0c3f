"""Runs one short stage again and again, ends it at a chosen moment, and lets the next run go on.

Run as a program with a folder; prints one JSON: for every way to end it, how the first run ended, what lay in the
folder then, and whether the second run's weights are those of a run that nobody disturbed. One process forks the runs,
so that the imports are paid for once.
"""

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import torch
from transformers import modeling_utils

from desa2va.training import checkpoints, label_refit, state_file, train, trainer

CONFIG = {
    "init_from": "desa2va-tiny",
    "mask_loss": {"mask_target_size": 32},
    "data": {"options": {"conversations": 4}},
    "training": {
        "phase": "decoupling",
        "language_model": "lora",
        "lora_rank": 4,
        "weights": {"visual_mask": 1.0, "fused_mask": 1.0, "text_mask": 0.5, "alignment": 0.1, "club": 0.1},
        "max_steps": 2,
        "save_steps": 1,
        "save_total_limit": 1,
        "per_device_train_batch_size": 2,
        "learning_rate": 1e-2,
        "warm_start": ["copy_decoders"],
        "use_cpu": True,
        "disable_tqdm": True,
    },
}
FIRST, SECOND = "checkpoint-1", "checkpoint-2"


def ends_by(number):
    return lambda: os.kill(os.getpid(), number)


def disk_full():
    raise OSError(28, "No space left on device")


def half_a_file(end, wanted):
    """Half of the `wanted` file of the second checkpoint, or of the finished model, is written, then comes `end`."""

    def broken(save):
        def write(value, path, *args, **kwargs):
            save(value, path, *args, **kwargs)
            if Path(path).parent.name in (SECOND, checkpoints.UNFINISHED) and Path(path).name == wanted:
                content = Path(path).read_bytes()
                Path(path).write_bytes(content[: len(content) // 2])
                end()

        return write

    torch.save = broken(torch.save)
    state_file.save_file = broken(state_file.save_file)
    modeling_utils.safe_save_file = broken(modeling_utils.safe_save_file)


def at_move(end, wanted):
    """`end` comes instead of the move of the `wanted` file or folder to its place."""
    replace = os.replace

    def broken(source, target):
        if Path(target).name == wanted:
            end()
        replace(source, target)

    os.replace = broken


def in_step(end):
    """`end` comes in the first step, when its gradients are there."""

    def broken(*args, **kwargs):
        end()

    trainer.DeSa2VATrainer._refresh_auxiliary = broken


def in_removal(end):
    """Of the first checkpoint one file is removed, then comes `end`."""
    remove = shutil.rmtree

    def broken(folder, *args, **kwargs):
        old = Path(folder, FIRST)
        if old.is_dir():
            (old / "optimizer.pt").unlink()
            end()
        remove(folder, *args, **kwargs)

    shutil.rmtree = broken


WAYS = {
    "killed in the first step": lambda: in_step(ends_by(signal.SIGKILL)),
    "killed in a file": lambda: half_a_file(ends_by(signal.SIGKILL), checkpoints.OBJECTIVE_FILE),
    "terminated in a file": lambda: half_a_file(ends_by(signal.SIGTERM), "optimizer.pt"),
    "interrupted in a file": lambda: half_a_file(ends_by(signal.SIGINT), "rng_state.pth"),
    "disk full": lambda: half_a_file(disk_full, trainer.AUXILIARY_FILE),
    "killed before the checkpoint is in place": lambda: at_move(ends_by(signal.SIGKILL), SECOND),
    "killed while an older checkpoint is removed": lambda: in_removal(ends_by(signal.SIGKILL)),
    "killed in the model's weights": lambda: half_a_file(ends_by(signal.SIGKILL), "model.safetensors"),
    "killed before the model is in place": lambda: at_move(ends_by(signal.SIGKILL), "config.json"),
}


def forked(folder, prepare=lambda: None):
    """Runs the stage in a child: its exit code, negative for a signal, 2 for an `OSError`, 130 for an interrupt."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            prepare()
            train.run_stage({**CONFIG, "output_dir": str(folder)})
            code = 0
        except KeyboardInterrupt:
            code = 130
        except OSError as error:
            code = 2 if "make room" in str(error) else 3
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(base):
    label_refit.FEWEST_PHRASES = 8  # two steps of two pictures read few, and W_l is to be corrected all the same
    straight = base / "straight"
    assert forked(straight) == 0
    weights = (straight / "model.safetensors").read_bytes()
    report = {
        "contents": sorted(path.name for path in straight.iterdir()),
        "stored": list(state_file.read_state(straight / SECOND / checkpoints.OBJECTIVE_FILE)),
        "label_refit": json.loads((straight / train.STAGE_FILE).read_text())["label_refit"],
    }
    for number, (way, prepare) in enumerate(WAYS.items()):
        folder = base / str(number)
        first = forked(folder, prepare)
        left = sorted(path.name for path in folder.iterdir())
        complete = [name for name in left if name.startswith("checkpoint") and checkpoints.is_complete(folder / name)]
        second = forked(folder)
        report[way] = {
            "first": first,
            "left": left,
            "complete": complete,
            "second": second,
            "equal": (folder / "model.safetensors").read_bytes() == weights,
            "contents": sorted(path.name for path in folder.iterdir()),
        }
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
