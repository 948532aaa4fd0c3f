"""What many records cost before and while a training reads them: an index on disk, its opening, draws, order, mixture.

`python -m benchmarks.million_records [--records N] [--json FILE]`, from the root of a checkout. Every line is measured
in a process of its own: seconds of the processor; megabytes of its own memory afterwards; and by how much all that it
has in memory grew at most, pages of the mapped index among them, which all processes share and the system takes back.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from PIL import Image

from desa2va.processing.files import encode_mask
from desa2va.training.data.mixture import Mixture
from desa2va.training.data.record_dataset import RecordDataset
from desa2va.training.data.record_index import hold_or_index, known_records
from desa2va.training.data.record_lengths import check_lengths
from desa2va.training.data.records import Record, expression_dialogue
from desa2va.training.data.sampling import ReadingOrder
from desa2va.training.processors import preset_processor

KEY, SIDE, DRAWS = "million", 64, 1000


def made_records(count: int, picture: str) -> Iterator[Record]:
    """Records of one picture, with one to four expressions of ten words and masks of one code each."""
    code = encode_mask(np.arange(SIDE)[:, None] < np.arange(SIDE)[None])
    for number in range(count):
        said = f"the object number {number} on the left of all the others"
        dialogues = tuple(expression_dialogue(said, (code,)) for _ in range(1 + number % 4))
        yield Record(f"row {number}", (picture,), False, (SIDE, SIDE), 1, dialogues, "made")


def measured(work: Callable[[], Any]) -> dict[str, float]:
    """Processor seconds of a call in a child process, and how the child's memory grew, megabytes: its own while the
    result is kept, and all of it at most.
    """
    source, target = os.pipe()
    child = os.fork()
    if child == 0:
        before, start = memory(), time.process_time()
        kept = work()
        figures = {"seconds": time.process_time() - start}
        figures |= {name: (value - before[name]) / 1e6 for name, value in memory().items()}
        del kept
        os.write(target, json.dumps(figures).encode())
        os._exit(0)
    os.close(target)
    with os.fdopen(source) as heard:
        told = heard.read()
    os.waitpid(child, 0)
    return json.loads(told)


def memory() -> dict[str, float]:
    """Bytes of this process: its own now, and everything at its peak."""
    lines = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    return {name: 1024.0 * int(lines[key].split()[0]) for name, key in (("own", "RssAnon"), ("peak", "VmHWM"))}


def draw(dataset: Any) -> Any:
    """Makes samples from everywhere. Returns the data set."""
    for index in np.random.default_rng(0).integers(len(dataset), size=DRAWS).tolist():
        dataset[index]
    return dataset


def opened() -> RecordDataset:
    """The records as a training opens them."""
    return RecordDataset(known_records(KEY), "made")


def mixed() -> Mixture:
    """Two parts of these records, as long as both."""
    return Mixture([opened(), opened()], [3, 1], 2 * len(opened()))


def report(count: int, folder: Path) -> dict[str, dict[str, float]]:
    """The figures of `count` records; files go to `folder`."""
    datasets.config.HF_DATASETS_CACHE = folder
    picture = folder / "picture.png"
    Image.fromarray(np.full((SIDE, SIDE, 3), 90, np.uint8)).save(picture)
    processor = preset_processor("tiny", {})
    stages: dict[str, Callable[[], Any]] = {
        "index is written": lambda: hold_or_index(made_records(count, str(picture)), KEY),
        "opened": opened,
        f"opened, {DRAWS} samples": lambda: draw(opened()),
        "texts are measured": lambda: check_lengths(opened(), processor),
        "an order of an epoch": lambda: sum(1 for _ in ReadingOrder(opened(), 0)),
        f"{DRAWS} of an order by length": lambda: list(islice(ReadingOrder(opened(), 0, group=8), DRAWS)),
        f"mixture, {DRAWS} samples": lambda: draw(mixed()),
        f"mixture, {DRAWS} by length": lambda: list(islice(ReadingOrder(mixed(), 0, group=8), DRAWS)),
    }
    return {name: measured(work) for name, work in stages.items()}


def main() -> None:
    """Prints the report, and writes it where `--json` says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000, help="how many; default: %(default)s")
    parser.add_argument("--json", type=Path, help="file of the report")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = report(options.records, Path(folder))
    text = json.dumps(found, indent=2)
    print(text)
    if options.json is not None:
        options.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
