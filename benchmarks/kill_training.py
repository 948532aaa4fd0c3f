"""A training that is killed at random moments: what is lost or damaged, and whether it ends as if nothing had been.

Enters: a number of kills. A short stage of phase 2 (LoRA, both auxiliary networks, a checkpoint every second step, one
kept) is run once undisturbed, then for every kill once until `SIGKILL` and once more to its end. Moments are drawn
within parts of the run: while modules are imported, model and data loaded, in a step, in a save, while the older
checkpoint is removed, while the finished model is written. Leaves: one line, and a JSON of every kill with `--json`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from transformers import TrainerCallback

from desa2va.training import checkpoints, state_file, train

SAVE_STEPS = 2
CONFIG: dict[str, Any] = {
    "init_from": "desa2va-tiny",
    "mask_loss": {"mask_target_size": 32},
    "data": {"options": {"conversations": 4}},
    "training": {
        "phase": "decoupling",
        "language_model": "lora",
        "lora_rank": 4,
        "weights": {"language": 1.0, "visual_mask": 1.0, "fused_mask": 1.0, "text_mask": 0.5, "adversarial": 0.1}
        | {"club": 0.1, "orthogonality": 0.1},
        "max_steps": 6,
        "save_steps": SAVE_STEPS,
        "save_total_limit": 1,
        "per_device_train_batch_size": 2,
        "learning_rate": 1e-2,
        "use_cpu": True,
        "disable_tqdm": True,
    },
}
PARTS = ("import", "load", "step", "save", "removal", "finish")


class Marks(TrainerCallback):
    """Says through a pipe what the process is at, and which step is done."""

    def __init__(self, pipe: int) -> None:
        self.pipe = pipe

    def say(self, word: str) -> None:
        """Writes one line; a pipe takes it whole."""
        os.write(self.pipe, f"{word} {time.monotonic()}\n".encode())

    def on_step_begin(self, *args: object, **kwargs: object) -> None:
        """A step begins."""
        self.say("step")

    def on_step_end(self, _: object, state: Any, *args: object, **kwargs: object) -> None:
        """A step is done."""
        self.say(f"done-{state.global_step}")

    def around(self, owner: Any, name: str, word: str, when: Callable[..., bool] = lambda *_: True) -> None:
        """Says `word` before `owner.name` runs, and `after` when it has."""
        stock = getattr(owner, name)

        def told(*args: Any, **kwargs: Any) -> Any:
            is_meant = when(*args)
            if is_meant:
                self.say(word)
            result = stock(*args, **kwargs)
            if is_meant:
                self.say("after")
            return result

        setattr(owner, name, told)

    def join(self) -> None:
        """Puts itself into this process' trainings."""
        stock = train.DeSa2VATrainer.__init__

        def with_marks(trainer: Any, *args: Any, **kwargs: Any) -> None:
            stock(trainer, *args, **kwargs)
            trainer.add_callback(self)

        train.DeSa2VATrainer.__init__ = with_marks
        self.around(checkpoints.CheckpointTrainer, "_save_checkpoint", "save")
        self.around(shutil, "rmtree", "removal", lambda folder, *_: any(Path(folder).glob("checkpoint-*")))
        self.around(train, "_finish", "finish")
        self.say("load")


class Run:
    """One run of the stage in a child, forked so that imports are paid for once."""

    def __init__(self, folder: Path) -> None:
        self.pipe, theirs = os.pipe()
        self.process = os.fork()
        if self.process == 0:
            code = 1
            try:
                silence = os.open(os.devnull, os.O_WRONLY)
                os.dup2(silence, 1)
                os.dup2(silence, 2)
                Marks(theirs).join()
                train.run_stage({**CONFIG, "output_dir": str(folder)})
                code = 0
            finally:
                os._exit(code)
        os.close(theirs)
        self.marks: list[tuple[str, float]] = []
        self._text = b""

    def read(self, until: float) -> bool:
        """Takes in what the child says until that time; `False` once it has ended."""
        while select.select([self.pipe], [], [], max(0.0, until - time.monotonic()))[0]:
            if not (text := os.read(self.pipe, 4096)):
                return False
            *lines, self._text = (self._text + text).split(b"\n")
            self.marks += [(word.decode(), float(at)) for word, at in map(bytes.split, lines)]
            if time.monotonic() >= until:
                return True
        return True

    def wait_for(self, word: str, number: int) -> bool:
        """Waits until the child has said `word` so often; `False` where it ends before."""
        while [said for said, _ in self.marks].count(word) < number:
            if not self.read(time.monotonic() + 0.001):
                return False
        return True

    def end(self, kill: bool = False) -> int:
        """The exit code, negative for a signal, after a `SIGKILL` or when the child has come to its end."""
        if kill:
            os.kill(self.process, signal.SIGKILL)
        while self.read(time.monotonic() + 1.0):
            pass
        os.close(self.pipe)
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])

    def steps(self) -> int:
        """The last step that was done."""
        return max([int(word.removeprefix("done-")) for word, _ in self.marks if word.startswith("done-")], default=0)

    def seconds(self) -> dict[str, float]:
        """How long each part took at most."""
        found: dict[str, float] = {}
        for (word, began), (_, ended) in zip(self.marks, self.marks[1:], strict=False):
            found[word] = max(found.get(word, 0.0), ended - began)
        return found


def kill_while_importing(folder: Path, after: float) -> int | None:
    """Kills the command in a process of its own: the steps it has done, 0; `None` where it was past its imports."""
    configuration = folder.with_suffix(".yaml")
    configuration.write_text(yaml.safe_dump({**CONFIG, "output_dir": str(folder)}), encoding="utf-8")
    command = [sys.executable, "-m", "desa2va.training.train", str(configuration)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(after)
    process.kill()
    return 0 if process.wait() == -signal.SIGKILL and not folder.exists() else None


def kill_within(folder: Path, part: str, number: int, after: float) -> int | None:
    """Kills a run so long `after` it came to a part the given time: the steps it has done; `None` where it ended."""
    run = Run(folder)
    reached = run.wait_for(part, number) and run.read(time.monotonic() + after)
    code = run.end(kill=reached)
    return run.steps() if code == -signal.SIGKILL else None


def look_at(folder: Path) -> tuple[int, int]:
    """Step of the newest checkpoint (0 without one), and how many of those that lie there cannot be read in full."""
    found = sorted(folder.glob("checkpoint-*"), key=checkpoints.checkpoint_step)
    damaged = 0
    for path in found:
        try:
            read = [state_file.read_state(file) for file in path.glob("*.safetensors")]
            read += [torch.load(file, weights_only=True) for file in path.glob("*.pt")]
            damaged += not (checkpoints.is_complete(path) and len(read) == 4)
        except Exception:  # whatever it is: the checkpoint is not to be read
            damaged += 1
    return checkpoints.checkpoint_step(found[-1] if found else None), damaged


def contents(folder: Path) -> tuple[bytes, list[str]]:
    """The finished model's weights, and what lies beside them."""
    return (folder / "model.safetensors").read_bytes(), sorted(path.name for path in folder.rglob("*"))


def measure(base: Path, kills: int, seed: int) -> list[dict[str, Any]]:
    """One entry per kill: part, seconds into it, steps done and lost, damaged checkpoints, whether the ends agree."""
    draw = random.Random(seed)
    straight = Run(base / "straight")
    if straight.end() != 0:
        raise RuntimeError("the undisturbed training failed")
    wanted, seconds = contents(base / "straight"), straight.seconds()
    for _ in range(2):  # the first reads from disk
        began = time.monotonic()
        subprocess.run([sys.executable, "-c", "import desa2va.training.train"], check=True)
        seconds["import"] = time.monotonic() - began
    times = Counter(word for word, _ in straight.marks)
    found: list[dict[str, Any]] = []
    while len(found) < kills:
        part = PARTS[len(found) % len(PARTS)]
        number, after = draw.randint(1, max(times[part], 1)), draw.random() * seconds[part]
        folder = base / str(len(found))
        shutil.rmtree(folder, ignore_errors=True)
        is_import = part == "import"
        done = kill_while_importing(folder, after) if is_import else kill_within(folder, part, number, after)
        if done is None:  # it was faster than the one that was timed
            continue
        newest, damaged = look_at(folder)
        code = Run(folder).end()
        entry = {"part": part, "number": number, "seconds": round(after, 4), "done": done}
        entry |= {"newest": newest, "lost": done - newest, "damaged": damaged}
        found.append({**entry, "resumed": code == 0, "equal": code == 0 and contents(folder) == wanted})
        print(json.dumps(found[-1]), file=sys.stderr, flush=True)
        shutil.rmtree(folder)
    return found


def main() -> None:
    """Kills, and prints what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the moments; default: %(default)s")
    parser.add_argument("--json", type=Path, help="file for every kill")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as base:
        found = measure(Path(base), args.kills, args.seed)
    if args.json:
        args.json.write_text(json.dumps({"save_steps": SAVE_STEPS, "kills": found}, indent=1) + "\n", encoding="utf-8")
    print(
        f"{len(found)} kills: at most {max(entry['lost'] for entry in found)} steps lost (saved every {SAVE_STEPS}), "
        f"{sum(entry['damaged'] for entry in found)} checkpoints damaged, "
        f"{sum(entry['equal'] for entry in found)} trainings equal to the undisturbed one bit for bit"
    )


if __name__ == "__main__":
    main()
