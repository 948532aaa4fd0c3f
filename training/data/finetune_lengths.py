"""Do the texts of a fine-tune file fit into the sequences of the model that is to learn them?

Enters: checked records and a processor. Leaves: a problem for each record with a text that training would refuse in
hour nine. Only texts that may be too long are encoded: no tokenizer makes more tokens than a text has bytes.
(Engineering; no paper section.)
"""

from __future__ import annotations

from typing import Any

from desa2va.processing.inputs import key_frame_indices

from .finetune import FineTuneDataset, read_timed_frames
from .finetune_json import Problem
from .finetune_records import Record
from .sample import Sample

_TEXT_SHARE = 3  # pictures and template take less than the rest of a sequence


def too_long(record: Record, processor: Any, num_frames: int = 5) -> list[Problem]:
    """What of a record is longer than a sequence of the processor may be.

    Args:
        record: checked, and its pictures readable. processor: a `DeSa2VAProcessor`.
        num_frames: most frames of a video in one sample.
    """
    texts = [*record.texts, *(" ".join(part for turn in turns for part in turn) for turns in record.turns)]
    problems = []
    for which, text in enumerate(texts):
        if len(text.encode()) <= processor.max_length // _TEXT_SHARE:
            continue
        frames = key_frame_indices("uniform", record.num_frames, min(num_frames, record.num_frames))
        conversation = FineTuneDataset.conversation(record, which, frames)
        pixels, seconds = read_timed_frames(record, frames)
        sample = Sample(pixels, (conversation,), record.is_video, record.name, seconds=seconds)
        try:
            processor.collate([sample])
        except ValueError as error:
            field = f"text {which}" if which < len(record.texts) else "conversations"
            problems.append(Problem(record.number, record.paths[0], field, str(error)))
    return problems


def check_lengths(dataset: Any, processor: Any) -> None:
    """Raises `ValueError` naming the first record of a data set, or of the parts of a mixture, that is too long."""
    for part in getattr(dataset, "parts", [dataset]):
        for record in getattr(part, "records", ()):
            for problem in too_long(record, processor, part.num_frames):
                raise ValueError(f"{part.path}: {problem}")


__all__ = ["check_lengths", "too_long"]
