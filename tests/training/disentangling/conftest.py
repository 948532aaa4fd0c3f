"""Two processes that talk to each other, without a second import of anything."""

import multiprocessing
import os

import pytest
import torch.distributed as dist


def _joined(work, rank, store):
    """One of the two processes: `work(rank)` between the meeting and the parting."""
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    work(rank)
    dist.destroy_process_group()


@pytest.fixture
def in_two_processes(tmp_path):
    """`in_two_processes(work)`: `work(rank)` in two forked processes over gloo; an error in either is one here."""
    if not hasattr(os, "fork"):
        pytest.skip("no fork here")

    def run(work):
        fork = multiprocessing.get_context("fork")
        children = [fork.Process(target=_joined, args=(work, rank, tmp_path / "store")) for rank in range(2)]
        for child in children:
            child.start()
        try:
            for child in children:
                child.join(120)
            assert [child.exitcode for child in children] == [0, 0]
        finally:
            for child in children:
                child.kill()

    return run
