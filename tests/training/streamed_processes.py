"""Streams prepared sets through the trainer in two processes over gloo, with and without data workers.

Run as a program with a folder; prints one JSON. One process forks all ranks, so that the imports are paid for once.
"""

import json
import os
import sys
from pathlib import Path

import datasets
import numpy as np
import torch
from free_port import free_port
from PIL import Image
from torch import nn

from desa2va.processing.files import encode_mask
from desa2va.training.arguments import DeSa2VATrainingArguments
from desa2va.training.data.build import open_dataset
from desa2va.training.data.prepare import prepare
from desa2va.training.data.sources import open_source
from desa2va.training.trainer import DeSa2VATrainer

SIZE = (8, 8)
PER_STEP = 2  # samples of a process


class Recorded(nn.Module):
    """Learns one number and writes down what it reads."""

    label_reader = None

    def __init__(self):
        super().__init__()
        self.weight, self.read = nn.Parameter(torch.zeros(())), []

    def forward(self, number, labels, mask_labels):
        self.read += number.tolist()
        return {"terms": {"language": self.weight * 1.0}}

    def end_step(self):
        pass


def collate(samples):
    numbers = torch.tensor([int(sample.conversations[0].labels[0].split()[-1]) for sample in samples])
    return {"number": numbers, "labels": torch.zeros(len(samples), 2).long(), "mask_labels": []}


def prepared(folder, count, shard_size):
    """`count` pictures, each with one expression that says its number."""
    (folder / "images").mkdir(parents=True)
    records = []
    for number in range(count):
        Image.fromarray(np.full((*SIZE, 3), number, np.uint8)).save(folder / "images" / f"{number}.png")
        records.append(
            {"image": f"{number}.png", "text": [f"thing {number}"], "mask": [encode_mask(np.ones(SIZE, bool))]}
        )
    (folder / "train.json").write_text(json.dumps(records))
    prepare(open_source(str(folder / "train.json")), folder / "shards", shard_size=shard_size)
    return folder / "shards"


def trained(data, folder, steps, workers, resume=None):
    """What this process has read."""
    arguments = DeSa2VATrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=PER_STEP,
        gradient_accumulation_steps=2,
        max_steps=steps,
        save_steps=6,
        dataloader_num_workers=workers,
        use_cpu=True,
        ddp_backend="gloo" if "RANK" in os.environ else None,
        disable_tqdm=True,
    )
    model = Recorded()
    dataset = open_dataset(data, streamed=True)
    DeSa2VATrainer(model=model, args=arguments, train_dataset=dataset, data_collator=collate).train(resume)
    return model.read


def both(work):
    """`work()` in two processes; what each returned."""
    port = free_port()
    children = []
    for rank in (0, 1):
        source, target = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_PORT": port}
                os.environ |= {"MASTER_ADDR": "127.0.0.1", **{name: str(value) for name, value in names.items()}}
                with os.fdopen(target, "w") as out:
                    out.write(json.dumps(work()))
            finally:
                sys.stderr.flush()
                os._exit(0)
        os.close(target)
        children.append((child, source))
    said = []
    for child, source in children:
        with os.fdopen(source) as heard:
            said.append(heard.read())
        os.waitpid(child, 0)
    return [json.loads(text) for text in said]


def main(base):
    """What was read, and what a run read that went on from step 6, in the middle of the second pass."""
    datasets.config.HF_DATASETS_CACHE = base / "cache"
    report = {}
    for name, data, workers in (
        ("shards", prepared(base / "a", 32, 8), 0),
        ("rows", prepared(base / "b", 29, 10), 2),
    ):
        last = str(base / name / "checkpoint-6")
        report[name] = both(lambda: trained(data, base / name, 8, workers))  # noqa: B023
        report[f"{name} resumed"] = both(lambda: trained(data, base / "on", 8, workers, last))  # noqa: B023
    report["alone"] = [trained(data, base / "alone", 16, workers)]
    report["alone resumed"] = [trained(data, base / "on", 16, workers, str(base / "alone" / "checkpoint-12"))]
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
