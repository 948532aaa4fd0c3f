"""Records as rows of a table and back: what the index on disk and prepared shards hold.

Enters: a record, or a row. Leaves: the other, exactly. Codes are text of their record's size, so that a mask is one
string. (Engineering; no paper section.)
"""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from .records import Code, Dialogue, Record, Target

_CODES = pa.list_(pa.string())
SCHEMA = pa.schema(
    {
        "name": pa.string(),
        "paths": pa.list_(pa.string()),
        "is_video": pa.bool_(),
        "height": pa.int32(),
        "width": pa.int32(),
        "num_frames": pa.int32(),
        "stride": pa.int32(),
        "fps": pa.float64(),
        "source": pa.string(),
        "licence": pa.string(),
        "dialogues": pa.list_(
            pa.struct(
                {
                    "kind": pa.string(),
                    "turns": _CODES,
                    "labels": _CODES,
                    "codes": pa.list_(_CODES),
                    "ignored": pa.list_(_CODES),
                    "regions": _CODES,
                    "group": pa.int64(),
                    "ids": pa.string(),
                }
            )
        ),
        "media": pa.list_(pa.large_binary()),
    }
)


def record_to_row(record: Record) -> dict[str, Any]:
    """A record as a row of `SCHEMA`.

    Raises:
        ValueError: a code of another size than the record's.
    """
    height, width = record.size
    return {
        "name": record.name,
        "paths": list(record.paths),
        "is_video": record.is_video,
        "height": height,
        "width": width,
        "num_frames": record.num_frames,
        "stride": record.stride,
        "fps": record.fps,
        "source": record.source,
        "licence": record.licence,
        "dialogues": [_dialogue_row(record, dialogue) for dialogue in record.dialogues],
        "media": list(record.media),
    }


def _dialogue_row(record: Record, dialogue: Dialogue) -> dict[str, Any]:
    return {
        "kind": dialogue.kind,
        "turns": [said for turn in dialogue.turns for said in turn],
        "labels": [target.label for target in dialogue.targets],
        "codes": [[_counts(record, code) for code in target.codes] for target in dialogue.targets],
        "ignored": [[_counts(record, code) for code in target.ignored] for target in dialogue.targets],
        "regions": [_counts(record, code) for code in dialogue.regions],
        "group": dialogue.group,
        "ids": json.dumps(dict(dialogue.ids)),
    }


def _counts(record: Record, code: Code | None) -> str | None:
    if code is None:
        return None
    if list(code["size"]) != list(record.size):
        raise ValueError(f"{record.name}: a mask of {list(code['size'])} but the visual is {list(record.size)}")
    counts = code["counts"]
    return counts.decode("ascii") if isinstance(counts, bytes) else counts


def row_to_record(row: dict[str, Any]) -> Record:
    """A row of `SCHEMA` as the record it was; without the column `media` it has no contents of files."""
    size = (row["height"], row["width"])
    return Record(
        name=row["name"],
        paths=tuple(row["paths"]),
        is_video=row["is_video"],
        size=size,
        num_frames=row["num_frames"],
        dialogues=tuple(_dialogue(entry, size) for entry in row["dialogues"]),
        source=row["source"],
        fps=row["fps"],
        licence=row["licence"],
        stride=row["stride"],
        media=tuple(row.get("media") or ()),
    )


def _dialogue(entry: dict[str, Any], size: tuple[int, int]) -> Dialogue:
    def code(counts: str | None) -> Code | None:
        return None if counts is None else {"size": list(size), "counts": counts}

    targets = tuple(
        Target(label, tuple(map(code, codes)), tuple(map(code, ignored)))
        for label, codes, ignored in zip(entry["labels"], entry["codes"], entry["ignored"], strict=True)
    )
    turns = tuple(zip(entry["turns"][::2], entry["turns"][1::2], strict=True))
    regions = tuple(code(counts) for counts in entry["regions"])
    return Dialogue(entry["kind"], turns, targets, regions, entry["group"], json.loads(entry["ids"]))


__all__ = ["SCHEMA", "record_to_row", "row_to_record"]
