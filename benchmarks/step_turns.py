"""What a training step costs in two checkouts, taking turns: `python -m benchmarks.step_turns OTHER [--steps 20]`.

Each checkout trains the configuration `tiny/ablation` in a process of its own, with one thread; the processes step in
turns, so that a busy machine is busy for both. Reported are processor seconds of a step and their ratio (this checkout
to the other). Enters: the folder of the other checkout. Leaves: a table on the standard output.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WARM_UP = 2
MODES = {"full": [], "lora": ["training.language_model=lora", "training.lora_rank=8", "training.lora_alpha=16"]}


def serve(mode: str) -> None:
    """Trains one step for every line on the standard input and answers with its processor seconds."""
    from transformers import TrainerCallback

    from desa2va.training.recipe_file import apply_overrides, read_config
    from desa2va.training.train import run_recipe
    from desa2va.training.trainer import DeSa2VATrainer

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else is printed is no answer

    class Gate(TrainerCallback):
        began: float | None = None

        def on_step_end(self, *args: object, **kwargs: object) -> None:
            if self.began is not None:
                print(time.process_time() - self.began, file=answers, flush=True)
            if not sys.stdin.readline():
                os._exit(0)
            self.began = time.process_time()

    stock = DeSa2VATrainer.__init__

    def with_gate(self: DeSa2VATrainer, *args: object, **kwargs: object) -> None:
        stock(self, *args, **kwargs)
        self.add_callback(Gate())

    DeSa2VATrainer.__init__ = with_gate
    start = ROOT / "docs" / "ablations" / "start" / "text_pretraining"
    overrides = [f"output_dir={tempfile.mkdtemp()}/run", f"init_from={start}", "training.save_strategy=no"]
    overrides += ["training.disable_tqdm=true", "training.max_steps=1000", "training.warm_start=[]", *MODES[mode]]
    run_recipe(apply_overrides(read_config("tiny/ablation"), overrides))


def take_turns(trees: list[Path], mode: str, steps: int) -> list[list[float]]:
    """Processor seconds of every counted step, tree by tree."""
    workers = []
    for tree in trees:
        environment = dict(os.environ, PYTHONPATH=str(tree), OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")
        command = [sys.executable, str(Path(__file__).resolve()), "--serve", mode]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        workers.append(subprocess.Popen(command, cwd=tree, env=environment, text=True, **pipes))
    seconds: list[list[float]] = [[] for _ in trees]
    for _ in range(WARM_UP + steps):
        for worker, measured in zip(workers, seconds, strict=True):
            worker.stdin.write("step\n")
            worker.stdin.flush()
            measured.append(float(worker.stdout.readline()))
    for worker in workers:
        worker.stdin.close()
        worker.wait()
    return [measured[WARM_UP:] for measured in seconds]


def main() -> None:
    """Measures both modes and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, nargs="?", help="folder of the other checkout")
    parser.add_argument("--steps", type=int, default=20, help="counted steps of each; default: %(default)s")
    parser.add_argument("--serve", choices=MODES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        return serve(args.serve)
    if args.other is None or not (args.other / "training").is_dir():
        parser.error(f"{args.other} is no checkout of this project")
    print("| language model | other, s | this, s | ratio |\n|---|---|---|---|")
    for mode in MODES:
        other, own = take_turns([args.other.resolve(), ROOT], mode, args.steps)
        ratio = statistics.median(b / a for a, b in zip(other, own, strict=True))
        print(f"| {mode} | {statistics.median(other):.3f} | {statistics.median(own):.3f} | {ratio:.3f} |", flush=True)
    return None


if __name__ == "__main__":
    main()
