"""Streams: shares of readers, and the sentences where a training would wait or fail later."""

from types import SimpleNamespace

import numpy as np
import pytest
from torch.utils.data import DataLoader

from desa2va.training.arguments import DataArguments
from desa2va.training.data import build
from desa2va.training.data.records import Record, expression_dialogue
from desa2va.training.data.streams import EndlessStream, StreamedDataset, samples_in_order


class Rows:
    """A stream of texts."""

    def __init__(self, count):
        self.count = count

    def shuffled(self, seed, epoch, buffer, reader=0, readers=1):
        order = np.random.default_rng((seed, epoch)).permutation(self.count)
        for number in order[reader::readers].tolist():
            yield lambda number=number: Record(
                f"row {number}", (), False, (0, 0), 0, (expression_dialogue("it", None),), "set"
            )


def names(samples):
    return [sample.name for sample in samples]


def read(count, batches, **places):
    stream = EndlessStream(StreamedDataset(Rows(count), "set"), 2, **places)
    loader = iter(DataLoader(stream, batch_size=2, collate_fn=names))
    return [next(loader) for _ in range(batches)]


def test_a_place_in_a_stream_is_found_again():
    """Guards a resumed run over several passes, of one of two processes."""
    whole = read(7, 9, process=1, processes=2)
    assert read(7, 5, process=1, processes=2, start=4) == whole[4:]


def test_fewer_records_than_readers():
    """Guards against a process that looks for its first record for ever."""
    with pytest.raises(ValueError, match="reader 3 of 4 .* has no record; take fewer workers"):
        read(3, 1, process=3, processes=4)


def test_start_values_read_a_stream_over_and_over():
    """Guards `warm_start` and a dry run, which asked a stream for its length."""
    samples = samples_in_order(StreamedDataset(Rows(3), "set"))
    assert len({next(samples).name for _ in range(3)}) == 3
    assert next(samples).name.startswith("set, row")


def test_what_needs_a_length_says_so(monkeypatch):
    """Guards against a validation that never ends, and transformers' sentence about a loader."""
    monkeypatch.setattr(build, "open_dataset", lambda *args, **options: StreamedDataset(Rows(3), "set"))
    with pytest.raises(ValueError, match=r"data.dataset: x is streamed .*; set training.max_steps"):
        build.build_dataset(DataArguments(dataset="x"), SimpleNamespace(max_steps=-1))
    with pytest.raises(ValueError, match=r"data.validation: x is streamed .*; leave out streamed"):
        build.build_validation(DataArguments(validation={"dataset": "x"}))
