"""The order in which a training reads its data.

Enters: a data set, a seed, an epoch. Leaves: its indices, the same in every process and resumed run. What fits
together stands together, where that is asked for: a batch takes as long as its longest sample, and a step as long as
the slowest process. (Engineering; no paper section.)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch.utils.data import Sampler

from .mixture import Mixture

WINDOW = 32  # groups that are sorted together: a sample moves no further, so shares of a mixture hold within each
FRAME_COST = 350.0  # tokens that one frame is worth: its own, about 256, and SAM-2's encoder
LETTERS = 4.0  # of a token


class ReadingOrder(Sampler):
    """Indices of an epoch.

    Args:
        dataset: map-style. A mixture has an order of its own, others are shuffled.
        seed: another seed gives another order.
        group: samples of a step that are to cost about the same: those of all processes. 1: no grouping.
    """

    def __init__(self, dataset: Any, seed: int, group: int = 1) -> None:
        self.dataset, self.seed, self.group = dataset, seed, group
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Another epoch has another order."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.dataset)

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng((self.seed, self.epoch))
        if isinstance(self.dataset, Mixture):
            self.dataset.set_epoch(self.epoch)
            order = np.arange(len(self.dataset))
        else:
            order = rng.permutation(len(self.dataset))
        return map(int, order) if self.group == 1 else self._grouped(order, rng)

    def _grouped(self, order: np.ndarray, rng: np.random.Generator) -> Iterator[int]:
        """Window by window: sorted by cost, cut into groups, the groups shuffled.

        The dearest group comes first, so that a step that does not fit into memory fails at once; what is left over of
        the last window comes last.
        """
        size = self.group * WINDOW
        for start in range(0, len(order), size):
            window = order[start : start + size]
            costs = np.array([sample_cost(self.dataset, int(index)) for index in window])
            window = window[np.argsort(-costs, kind="stable")]
            whole = len(window) // self.group
            groups = rng.permutation(whole).tolist()
            if groups and start == 0:
                groups.remove(0)
                groups.insert(0, 0)
            for group in groups:
                yield from window[group * self.group : (group + 1) * self.group].tolist()
            yield from window[whole * self.group :].tolist()


def sample_cost(dataset: Any, index: int) -> float:
    """About how much reading a sample costs, in tokens; nothing is decoded for it.

    Args:
        dataset: a `Mixture`, or a data set of records; what samples of any other cost is not known, so 0.
    """
    if isinstance(dataset, Mixture):
        number, place, _ = dataset.locate(index)
        return sample_cost(dataset.parts[number], place)
    records = getattr(dataset, "records", None)
    if records is None:
        return 0.0
    # A table of prepared records holds their pictures: those are not read for it.
    record = getattr(records, "outline", records.__getitem__)(index % len(records))
    frames = min(dataset.num_frames, record.num_frames)
    groups = {dialogue.group for dialogue in record.dialogues if dialogue.group is not None}
    alone = sum(dialogue.group is None for dialogue in record.dialogues)
    asked = min(alone + len(groups), dataset.conversations or len(record.dialogues))
    letters = sum(len(part) for dialogue in record.dialogues for turn in dialogue.turns for part in turn)
    return frames * FRAME_COST + asked * letters / len(record.dialogues) / LETTERS


__all__ = ["ReadingOrder", "sample_cost"]
