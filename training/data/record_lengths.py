"""Do the texts of records fit into the sequences of the model that is to learn them?

Enters: checked records and a processor. Leaves: a problem for each record with a text that training would refuse in
hour nine. Only texts that may be too long are encoded: no tokenizer makes more tokens than a text has bytes.
(Engineering; no paper section.)
"""

from __future__ import annotations

from typing import Any

from desa2va.processing.inputs import key_frame_indices

from .readers import TableRecords
from .record_index import IndexedRecords
from .record_media import read_timed_frames
from .records import Record, RecordError
from .sample import Sample

_TEXT_SHARE = 3  # pictures and template take less than the rest of a sequence


def too_long(record: Record, processor: Any, num_frames: int = 5) -> list[RecordError]:
    """What of a record is longer than a sequence of the processor may be.

    Args:
        record: checked, and its pictures readable. processor: a `DeSa2VAProcessor`.
        num_frames: most frames of a video in one sample.
    """
    problems = []
    for which, dialogue in enumerate(record.dialogues):
        said = " ".join(part for turn in dialogue.turns for part in turn)
        if len(said.encode()) <= _surely_short(processor):
            continue
        count = min(num_frames, record.num_frames)
        frames = key_frame_indices("uniform", record.num_frames, count) if count else []
        pixels, seconds = read_timed_frames(record, frames) if frames else (None, None)
        conversation = record.conversation(dialogue, frames)
        sample = Sample(pixels, (conversation,), record.is_video, record.name, seconds=seconds)
        try:
            processor.collate([sample])
        except ValueError as error:
            field = "conversations" if dialogue.kind == "chat" else f"text {which}"
            problems.append(RecordError(record.name, field, str(error)))
    return problems


def _surely_short(processor: Any) -> int:
    """Bytes of a text that fits whatever else stands in its sequence."""
    return processor.max_length // _TEXT_SHARE


def check_lengths(dataset: Any, processor: Any) -> None:
    """Raises `ValueError` naming the first record of a data set, or of the parts of a mixture, that is too long.

    Tables are left to `desa2va data check`.
    """
    for part in getattr(dataset, "parts", [dataset]):
        records = getattr(part, "records", ())
        if isinstance(records, TableRecords):  # its rows hold their pictures: reading all takes as long as an epoch
            continue
        if isinstance(records, IndexedRecords):
            records = records.with_long_texts(_surely_short(processor))
        for record in records:
            for problem in too_long(record, processor, part.num_frames):
                raise ValueError(f"{part.name}: {problem}")


__all__ = ["check_lengths", "too_long"]
