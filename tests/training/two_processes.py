"""Trains short stages in two processes over gloo.

Run as a program with a folder; prints one JSON. One process forks all ranks, so that the imports are paid for once.
"""

import json
import os
import signal
import sys
import traceback
from pathlib import Path

import torch
import transformers
from free_port import free_port
from packaging import version

from desa2va.training import label_refit, train
from desa2va.training.data.refshapes import RefShapes

COMMON = {
    "max_steps": 2,
    "save_steps": 1,
    "per_device_train_batch_size": 2,
    "use_cpu": True,
    "ddp_backend": "gloo",
    "disable_tqdm": True,
}
FIRST = {"phase": "text_pretraining", "weights": {"label_mask": 1.0, "iou": 0.1}, "gradient_checkpointing": True}
SECOND = {
    "phase": "decoupling",
    "language_model": "lora",
    "lora_rank": 4,
    "weights": {"language": 1.0, "visual_mask": 1.0, "text_mask": 0.5, "club": 0.1, "orthogonality": 0.1},
    "gradient_checkpointing": True,
}


def one_without_objects(data, arguments):
    """Pictures for the first process, questions for the second."""
    kinds = {"attribute": 1.0} if arguments.process_index == 0 else {"qa_color": 1.0}
    return RefShapes("train", level="full", conversations=1, length=64, kinds=kinds)


def kill_first_before(name):
    """The first process dies instead of moving the folder `name` to its place."""
    replace = os.replace

    def broken(source, target):
        if Path(target).name == name:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)

    os.replace = broken


CONFIG = {
    "init_from": "desa2va-tiny",
    "mask_loss": {"mask_target_size": 32},
    "data": {"options": {"conversations": 4}},
}


def pair(folder, training, prepare=lambda: None, config=CONFIG):
    """Trains a stage in two processes; exit codes. When the first has died the second is killed: it waits for it."""
    port = free_port()
    children = []
    for rank in (0, 1):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_PORT": port}
                os.environ |= {"MASTER_ADDR": "127.0.0.1", **{name: str(value) for name, value in names.items()}}
                prepare()
                train.run_stage({**config, "training": {**COMMON, **training}, "output_dir": str(folder)})
                code = 0
            except Exception:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        children.append(child)
    first = os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1])
    if first != 0:
        os.kill(children[1], signal.SIGKILL)
    return [first, os.waitstatus_to_exitcode(os.waitpid(children[1], 0)[1])]


# Older versions read the optimizer back to the device "cpu:0", which torch does not know as a place.
RESUMES = version.parse(transformers.__version__) >= version.parse("5.23")


def without_objects():
    """What `one_without_objects` needs to be used."""
    train.build_dataset = one_without_objects


def main(base):
    label_refit.FEWEST_PHRASES = 8  # two steps of two pictures read few, and W_l is to be corrected all the same
    report = {"without objects": pair(base / "objects", FIRST, without_objects)}
    report["straight"] = pair(base / "straight", SECOND)
    if RESUMES:
        resume(base, report)
    stage = json.loads((base / "straight" / train.STAGE_FILE).read_text())
    report |= {"processes": stage["processes"], "label_refit": stage["label_refit"]}
    sys.stdout.write(json.dumps(report) + "\n")


def resume(base, report):
    """A run that is killed and goes on, beside the one that was left alone."""
    report["killed"] = pair(base / "again", SECOND, lambda: kill_first_before("checkpoint-2"))
    report["left"] = sorted(path.name for path in (base / "again").iterdir())
    report["resumed"] = pair(base / "again", SECOND)
    weights = [(base / name / "model.safetensors").read_bytes() for name in ("straight", "again")]
    report["equal"] = weights[0] == weights[1]


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
