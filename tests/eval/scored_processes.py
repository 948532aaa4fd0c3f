"""A model that two processes score together over gloo. Run as a program with a folder; prints one JSON."""

import json
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from desa2va.eval.benchmarks import refshapes_pictures
from desa2va.eval.training_scores import BenchmarkScorer
from desa2va.hub import load

SECTION = {"benchmark": "refshapes-easy-validation", "limit": 6, "batch_size": 2}


def score(folder, rank=None):
    """Scores alone, or as one of two processes."""
    if rank is not None:
        dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    model, processor = load(device="cpu")
    figures = BenchmarkScorer(SECTION, folder)(model, processor)
    (folder / f"figures-{rank}.json").write_text(json.dumps(figures))


def main(folder):
    refshapes_pictures.SCENES = 6
    children = []
    for rank in (None, 0, 1):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                place = folder / ("alone" if rank is None else "together")
                place.mkdir(exist_ok=True)
                score(place, rank)
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    found = {str(path.relative_to(folder)): json.loads(path.read_text()) for path in folder.rglob("figures-*.json")}
    left = sorted(path.name for path in (folder / "together").iterdir() if path.is_dir())
    sys.stdout.write(json.dumps({"codes": codes, "found": found, "left": left}) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
