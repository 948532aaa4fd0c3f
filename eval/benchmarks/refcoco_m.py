"""RefCOCO-M: RefCOCO's validation with masks drawn anew, as a table of `datasets`.

Enters: the name `refcoco_m-validation`. Leaves: what it asks and how it scores: as RefCOCO (paper section 4.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from desa2va.training.data.records import Record
from desa2va.training.data.sources import open_source

from .questions import Benchmark
from .referring_pictures import PROTOCOL, PictureScores

FOLDER, HUB = "refcoco_m", "hub:moondream/refcoco-m"


class TableBenchmark(Benchmark):
    """A benchmark whose records are rows of a table."""

    def records(self, root: Path) -> Sequence[Record]:
        """Rows of the copy below the data folder, or, without one, of the Hub's."""
        copy = Path(root) / FOLDER
        return open_source(str(copy) if copy.is_dir() else HUB, split=self.split).records()


def benchmark(name: str) -> Benchmark:
    """The benchmark of a name."""
    return TableBenchmark(name=name, protocol=PROTOCOL, id_names=(), scores=lambda root: PictureScores())


__all__ = ["TableBenchmark", "benchmark"]
