"""The compact records of a session: exact after rounding, cheap to copy, whole after a full disk."""

import errno

import numpy as np
import pytest
import torch

from desa2va.modeling_desa2va.session.store import FrameIndex, FrameRecord, ObjectState, RecordStore


def record(seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = 8 * torch.randn(12, 16, generator=generator)
    logits[0, 0], logits[0, 1] = -1024, 1024
    return FrameRecord(logits, torch.randn(7, generator=generator), 0.5, -1.25, reverse=bool(seed % 2))


def test_records_come_back_bit_for_bit():
    """Bytes that are taken apart for compression have to be put together in the same order, whatever the shape."""
    store = RecordStore()
    numbers = [store.append(record(seed).to_bytes()) for seed in range(3)]
    for seed in (2, 0, 1):
        back, given = FrameRecord.from_bytes(store.read(numbers[seed])), record(seed)
        assert torch.equal(back.logits, given.logits)
        assert torch.equal(back.pointer, given.pointer)
        assert (back.iou, back.object_score, back.reverse) == (given.iou, given.object_score, given.reverse)
    store.close()
    store.close()


class FullDisk:
    """A file that takes so many bytes, some of the last record included."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, data):
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self.file.write(data[: self.room])
        self.room -= written
        return written

    def __getattr__(self, name):
        return getattr(self.file, name)


def test_a_full_disk_keeps_what_is_finished():
    """A record that was written in part must neither be read nor shift the next one."""
    store, data = RecordStore(), record().to_bytes()
    first = store.append(data)
    store._file = FullDisk(store._file, len(data) // 2)
    with pytest.raises(OSError, match="No space left.*All 1 finished results stay readable") as caught:
        store.append(record(1).to_bytes())
    assert caught.value.errno == errno.ENOSPC
    assert store.read(first) == data
    store._file.room = 10**6
    assert store.read(store.append(record(2).to_bytes())) == record(2).to_bytes()
    assert store.read(first) == data


def test_copies_of_an_index_do_not_see_each_other():
    """Undo lives on this: a copy that shares memory with its original must not change with it, nor the reverse."""
    index = FrameIndex.empty(4)
    index[1] = 7
    before = index.copy()
    index[2] = 8
    after = index.copy()
    before[0] = 9
    assert [list(entry.frames()) for entry in (index, before, after)] == [[1, 2], [0, 1], [1, 2]]
    assert index[2] == 8
    assert 4 not in index
    assert -1 not in index


def test_an_index_costs_four_bytes_a_frame():
    index = FrameIndex.empty(1000)
    assert index._numbers.nbytes == 4000
    assert np.shares_memory(index._numbers, index.copy()._numbers)


def test_a_copied_state_is_independent():
    state = ObjectState(0, "dog", FrameIndex.empty(3))
    copy = state.copy()
    state.prompts[1], state.index[1], state.forward = object(), 5, 2
    assert (copy.prompts, list(copy.index.frames()), copy.waits) == ({}, [], False)
