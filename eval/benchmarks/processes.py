"""The processes of one run: `accelerate launch` or `torchrun` start them, each takes every n-th unit.

Enters: the variables that launchers set. Leaves: number and count of this process, and one meeting of all when the
answers are complete. (Engineering; no paper section.)
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

from desa2va.training.launch import one_was_started

logger = logging.getLogger(__name__)
_PATIENCE = timedelta(days=30)  # the last process may have hours of videos left when the first is done


@dataclass(frozen=True)
class Processes:
    """This process among those of the run.

    Attributes:
        rank: its number. count: of all.
    """

    rank: int = 0
    count: int = 1

    def units(self, total: int) -> range:
        """The units of this process."""
        return range(self.rank, total, self.count)

    def wait(self) -> None:
        """Returns when all processes have come here."""
        if self.count > 1:
            dist.barrier()


def launched() -> tuple[int, int]:
    """Number of this process and count of all, as a launcher tells them; one alone without a launcher."""
    if one_was_started():
        logger.warning(
            "accelerate launch was asked for several processes and started one, as it does with --cpu: this one does "
            "all the work; on CPUs torchrun --nproc_per_node N -m PROGRAM starts several"
        )
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def joined_processes() -> Iterator[Processes]:
    """The processes that a launcher started."""
    _, count = launched()
    if count == 1:
        yield Processes()
        return
    dist.init_process_group("gloo", timeout=_PATIENCE)
    try:
        yield Processes(dist.get_rank(), count)
    finally:
        dist.destroy_process_group()


def own_device(device: str | None) -> str | None:
    """The device asked for; of several GPUs the one of this process."""
    if device is not None or "LOCAL_RANK" not in os.environ or not torch.cuda.is_available():
        return device
    return f"cuda:{int(os.environ['LOCAL_RANK']) % torch.cuda.device_count()}"


__all__ = ["Processes", "joined_processes", "launched", "own_device"]
