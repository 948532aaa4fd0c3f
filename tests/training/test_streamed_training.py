"""Sets that are read from front to back, through the trainer, in one and two processes with and without workers."""

from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("streamed_processes.py")
ROWS = {"shards": 32, "rows": 29, "alone": 29}


@pytest.fixture(scope="module")
def report(run_program):
    """What `streamed_processes.py` saw: numbers of the rows that each process read, 64 in all."""
    return run_program(PROGRAM)


@pytest.mark.parametrize("name", ROWS)
def test_every_row_once_in_a_pass(report, name):
    """Guards rows that two processes or workers both read, or neither: accelerate read the first rows twice where
    the last batch of an epoch was not full, and took batches of lists apart.
    """
    read = report[name]
    assert [len(numbers) for numbers in read] == [64 // len(read)] * len(read)
    counts = [sum(numbers, []).count(row) for numbers in [read] for row in range(ROWS[name])]
    # Two passes and a bit: no row a third time before every row came twice, to the one by which shares differ.
    assert min(counts) >= 1
    assert max(counts) <= 3
    assert sum(count == 1 for count in counts) <= 1
    for own in read:
        first = own[: ROWS[name] // len(read)]
        assert len(set(first)) == len(first)


@pytest.mark.parametrize("name", ROWS)
def test_a_resumed_run_goes_on_where_it_stopped(report, name):
    """In the middle of the second pass: the stock loop looked for the place in the first one and stopped."""
    for whole, later in zip(report[name], report[f"{name} resumed"], strict=True):
        assert later == whole[len(whole) * 3 // 4 :]


def test_the_second_pass_has_another_order(report):
    """Guards against a pass that is repeated."""
    first, second = report["shards"][0][:16], report["shards"][0][16:]
    assert sorted(first) != first
    assert first != second
