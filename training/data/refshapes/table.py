"""RefShapes as `datasets` tables and streams: the samples of `RefShapes` enter, rows leave, and back.

One row is one sample. Frames and instance maps are PNG pictures (lossless), masks are COCO run-length codes, so
`sample_from_row(row)` rebuilds the very sample.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import datasets
import numpy as np
from PIL import Image

from desa2va.training.data.mask_codes import decode_mask, encode_mask
from desa2va.training.data.sample import Conversation, Sample

from .dataset import RefShapes

RLE_FEATURE = {"size": datasets.List(datasets.Value("int32")), "counts": datasets.Value("string")}
FEATURES = datasets.Features(
    {
        "name": datasets.Value("string"),
        "is_video": datasets.Value("bool"),
        "frames": datasets.List(datasets.Image()),
        "instance_maps": datasets.List(datasets.Image()),
        "objects": datasets.Value("string"),
        "conversations": datasets.List(
            {
                "kind": datasets.Value("string"),
                "user": datasets.Value("string"),
                "assistant": datasets.Value("string"),
                "earlier": datasets.List({"user": datasets.Value("string"), "assistant": datasets.Value("string")}),
                "labels": datasets.List(datasets.Value("string")),
                "targets": datasets.List(datasets.Value("int32")),
                "masks": datasets.List(datasets.List(RLE_FEATURE)),
                "regions": datasets.List(RLE_FEATURE),
            }
        ),
    }
)


def refshapes_dataset(split: str, level: str = "standard", **options: Any) -> datasets.Dataset:
    """RefShapes as a table, generated once and cached by `datasets`.

    Args:
        split: as in `RefShapes`.
        level: as in `RefShapes`.
        options: further arguments of `RefShapes`; `cache_dir` and `num_proc` go to `Dataset.from_generator`.
    """
    kept = {name: options.pop(name) for name in ("cache_dir", "num_proc") if name in options}
    shards = _shards(RefShapes(split, level, **options), kept.get("num_proc") or 1)
    return datasets.Dataset.from_generator(_rows, features=FEATURES, gen_kwargs=shards, **kept)


def refshapes_stream(
    split: str, level: str = "standard", *, num_shards: int = 16, **options: Any
) -> datasets.IterableDataset:
    """RefShapes as a stream; workers of a `DataLoader` share the shards, so each sample comes once.

    Args:
        split: as in `RefShapes`.
        level: as in `RefShapes`.
        num_shards: consecutive stretches the data set is cut into; the largest useful number of workers.
        options: further arguments of `RefShapes`.
    """
    shards = _shards(RefShapes(split, level, **options), num_shards)
    return datasets.IterableDataset.from_generator(_rows, features=FEATURES, gen_kwargs=shards)


def row_from_sample(sample: Sample) -> dict[str, Any]:
    """One sample as a row of `FEATURES`."""
    return {
        "name": sample.name,
        "is_video": sample.is_video,
        "frames": [_png(frame) for frame in sample.frames],
        "instance_maps": [_png(frame) for frame in sample.scene["instance_map"]],
        "objects": json.dumps(sample.scene["objects"]),
        "conversations": [
            {
                "kind": conversation.kind,
                "user": conversation.turns[-1][0],
                "assistant": conversation.turns[-1][1],
                "earlier": [{"user": user, "assistant": answer} for user, answer in conversation.turns[:-1]],
                "labels": list(conversation.labels),
                "targets": list(conversation.targets),
                "masks": [[encode_mask(frame) for frame in masks] for masks in conversation.masks],
                "regions": [encode_mask(region) for region in _or_empty(conversation.regions)],
            }
            for conversation in sample.conversations
        ],
    }


def sample_from_row(row: dict[str, Any]) -> Sample:
    """The sample a row was made of."""
    frames = np.stack([np.asarray(frame) for frame in row["frames"]])
    conversations = []
    for entry in row["conversations"]:
        masks = np.zeros((len(entry["masks"]), *frames.shape[:3]), bool)
        for index, codes in enumerate(entry["masks"]):
            masks[index] = [decode_mask(code) for code in codes]
        regions = np.stack([decode_mask(code) for code in entry["regions"]]) if entry["regions"] else None
        conversations.append(
            Conversation(
                turns=tuple((turn["user"], turn["assistant"]) for turn in (*entry["earlier"], entry)),
                masks=masks,
                labels=tuple(entry["labels"]),
                kind=entry["kind"],
                regions=regions,
                targets=tuple(entry["targets"]),
            )
        )
    instance_map = np.stack([np.asarray(frame) for frame in row["instance_maps"]])
    scene = {"instance_map": instance_map, "objects": json.loads(row["objects"])}
    return Sample(frames, tuple(conversations), row["is_video"], row["name"], scene)


def _shards(dataset: RefShapes, count: int) -> dict[str, Any]:
    """Generator arguments: the data set and consecutive `(start, stop)` stretches (the list `datasets` splits)."""
    edges = np.linspace(0, len(dataset), min(count, max(1, len(dataset))) + 1).astype(int).tolist()
    return {"dataset": dataset, "stretches": list(zip(edges[:-1], edges[1:], strict=True))}


def _rows(dataset: RefShapes, stretches: list[tuple[int, int]]) -> Iterator[dict[str, Any]]:
    """Rows of all samples of the stretches."""
    for start, stop in stretches:
        for index in range(start, stop):
            yield row_from_sample(dataset[index])


def _png(picture: np.ndarray) -> dict[str, Any]:
    """A uint8 picture as an encoded `datasets.Image`; noise hardly compresses, so little effort is spent on it."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG", compress_level=1)
    return {"bytes": buffer.getvalue(), "path": None}


def _or_empty(regions: np.ndarray | None) -> np.ndarray | tuple[()]:
    return () if regions is None else regions


__all__ = [
    "FEATURES",
    "refshapes_dataset",
    "refshapes_stream",
    "row_from_sample",
    "sample_from_row",
]
