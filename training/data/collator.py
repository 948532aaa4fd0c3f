"""From a list of samples to what an objective is given, in two steps with the way to the device between them.

Enters: `Sample`s, in a data worker. Leaves: the batch, on the device. (Engineering; no paper section.)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .sample import Sample


@dataclass(frozen=True)
class Collator:
    """What a data loader calls.

    Attributes:
        processor: a `DeSa2VAProcessor`. every_frame: see `DeSa2VAProcessor.collate`.
        preprocess_device: SAM-2's pixels are made by `finish`, from the frames' bytes; else by the worker.
    """

    processor: Any
    every_frame: bool = False
    preprocess_device: bool = False

    def __call__(self, samples: list[Sample]) -> dict[str, Any]:
        """The batch as a data worker hands it over.

        Of its `samples` those without a `scene`, whose pixels and masks nobody reads a second time, are words alone.
        """
        batch = self.processor.collate(samples, every_frame=self.every_frame, raw_frames=self.preprocess_device)
        return {**batch, "samples": [sample if sample.scene else _words_of(sample) for sample in samples]}

    def finish(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The batch as the objective takes it, from one that has been moved to its device."""
        return self.processor.finish_frames(batch)


def _words_of(sample: Sample) -> Sample:
    conversations = tuple(
        replace(item, masks=np.zeros((len(item.masks), 0, 0, 0), bool), regions=None) for item in sample.conversations
    )
    return replace(sample, frames=None, seconds=None, conversations=conversations)


__all__ = ["Collator"]
