"""What this machine measurably does, and what it is: the floor that stages are held against.

Enters: nothing. Leaves: operations a second of a large matrix product and bytes a second of a large copy, by the clock
of the process (one thread), and a description. A stage can not be faster than its operations at the first rate, nor
than reading its weights and inputs and writing its outputs at the second.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

SIDE, COPIED = 1536, 1 << 26  # of the matrices; numbers of 4 bytes that are copied


@dataclass(frozen=True)
class Rates:
    """Per second of processor time. `bytes` counts what is read and what is written."""

    operations: float
    bytes: float

    def floor(self, operations: float, moved: float) -> float:
        """Least seconds of so many operations and bytes: they may overlap, so the larger counts."""
        return max(operations / self.operations, moved / self.bytes)


def processor_seconds(work: Callable[[], Any], repeats: int) -> float:
    """Least processor seconds of one call, after one that is not counted."""
    work()
    taken = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return min(taken)


def measure_rates(side: int = SIDE, copied: int = COPIED, repeats: int = 5) -> Rates:
    """The rates, in float32, the best of several tries."""
    left, right = torch.randn(side, side), torch.randn(side, side)
    source, target = torch.zeros(copied), torch.ones(copied)
    product = torch.empty(side, side)
    multiplied = processor_seconds(lambda: torch.mm(left, right, out=product), repeats)
    moved = processor_seconds(lambda: target.copy_(source), repeats)
    return Rates(2 * side**3 / multiplied, 2 * 4 * copied / moved)


__all__ = ["Rates", "measure_rates", "processor_seconds"]
