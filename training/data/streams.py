"""Records that come from front to back, e.g. over the network, as samples of a training on any number of processes.

Enters: a `RecordStream`. Leaves: samples. A stream has no length and, for a training, no end: processes that reach the
end of their share at different steps would wait for one another for ever. (Engineering; no paper section.)
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import numpy as np
from torch.utils.data import IterableDataset, get_worker_info

from .record_dataset import RecordSamples, refuse_unlabelled
from .sample import Sample

SHUFFLED = 1000  # records of a stream that are mixed with one another


class StreamedDataset(RecordSamples, IterableDataset):
    """Samples of records that come from front to back; iterated by itself it is one pass over all of them.

    Args:
        stream: a `RecordStream`; in every epoch shuffled anew among `SHUFFLED` neighbours.
        name, options: of `RecordSamples`; without `repeat`.

    Raises:
        ValueError: `repeat`, or an option that is no integer of at least 1.
    """

    def __init__(self, stream: Any, name: str, **options: Any) -> None:
        super().__init__(name, **options)
        if self.repeat != 1:
            raise ValueError(f"{name} is streamed and has no length; leave out repeat")
        self.stream = stream

    def __iter__(self) -> Iterator[Sample]:
        return (sample() for sample in self.shares(self.epoch))

    def shares(self, epoch: int, reader: int = 0, readers: int = 1) -> Iterator[Any]:
        """What one of several readers has of a pass: functions that make the samples, so that skipping costs little.

        Args:
            epoch: number of the pass. reader, readers: every record goes to one of them.
        """
        for number, read in enumerate(self.stream.shuffled(self.seed, epoch, SHUFFLED, reader, readers)):
            yield lambda number=number, read=read: self._made(read(), number, epoch, reader)

    def _made(self, record: Any, number: int, epoch: int, reader: int) -> Sample:
        refuse_unlabelled(record, self.name)
        return self.sample(record, epoch, np.random.default_rng((self.seed, number, epoch, reader)))


class EndlessStream(IterableDataset):
    """What one process of a training reads of a stream: pass after pass of its share.

    Its data workers are readers of their own. The order follows from the numbers of processes, workers and samples of
    a batch; a run that is resumed with the same goes on where it stopped.

    Args:
        data: the stream. batch_size: samples that a worker makes at a time. process, processes: which of how many.
        start: batches that this process has read already.
    """

    def __init__(
        self, data: StreamedDataset, batch_size: int, process: int = 0, processes: int = 1, start: int = 0
    ) -> None:
        self.data, self.batch_size, self.start = data, batch_size, start
        self.process, self.processes = process, processes

    def __iter__(self) -> Iterator[Sample]:
        """Samples without end; raises `ValueError` where there are fewer records than readers."""
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        # A loader asks its workers in turns, the first one first: after `start` batches it is another one's turn.
        turn = (self.start + worker) % workers
        skipped = (self.start - turn + workers - 1) // workers * self.batch_size
        reader, readers = self.process * workers + turn, self.processes * workers
        for epoch in count():
            empty = True
            for make in self.data.shares(epoch, reader, readers):
                empty = False
                if skipped:
                    skipped -= 1
                else:
                    yield make()
            if empty:
                raise ValueError(
                    f"{self.data.name}: reader {reader} of {readers} (processes times data workers) has no record; "
                    "take fewer workers, or leave out streamed"
                )


def samples_in_order(dataset: Any) -> Iterator[Sample]:
    """Samples of any data set from its beginning, over and over: what start values and dry runs look at."""
    if isinstance(dataset, StreamedDataset):
        return iter(EndlessStream(dataset, batch_size=1))
    return (dataset[index % len(dataset)] for index in count())


__all__ = ["EndlessStream", "StreamedDataset", "samples_in_order"]
