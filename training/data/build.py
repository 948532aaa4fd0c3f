"""From data arguments to map-style data sets of `Sample`s.

Enters: `DataArguments`. Leaves: RefShapes, records of any file or published set, or a mixture of such; and what a
training is validated on.
"""

from __future__ import annotations

import math
import os
from typing import Any

from desa2va.training.arguments import DataArguments
from desa2va.training.field_check import declared_fields

from .mixture import Mixture, part_weights
from .readers import RecordStream
from .record_dataset import RecordDataset, RecordSamples
from .refshapes import RefShapes
from .sources import open_source, reader_options
from .streams import StreamedDataset

FEWEST = 1024
WORLDS_APART = 7919
VALIDATION_LENGTH = 256
SAMPLE_OPTIONS = {key: hint for key, hint in declared_fields(RecordSamples).items() if key != "name"}


def build_dataset(data: DataArguments, arguments: Any) -> Any:
    """The training set.

    Its length is an epoch. A fine-tune file has as many samples as records (times `repeat`). RefShapes has no end:
    with `max_steps` it is made exactly as long as the run needs, so that no scene is seen twice; with
    `num_train_epochs` an epoch has `length` samples (10,000 unless its options say so), and every epoch has new ones.
    A mixture is as long as each of its files takes to be read once, at its share (without files as its longest part),
    or with `repeats` as all of its parts, read so often.

    Args:
        data: what to learn from. arguments: training arguments.
    """
    length = None
    if arguments.max_steps > 0:
        per_step = arguments.train_batch_size * arguments.gradient_accumulation_steps * arguments.world_size
        length = max(arguments.max_steps * per_step, FEWEST)
    if data.parts:
        return _mixture(data, length)
    part = _part(data.dataset, data.options, data.seed, length)
    if isinstance(part, StreamedDataset) and length is None:
        raise ValueError(f"data.dataset: {data.dataset} is streamed and has no length; set training.max_steps")
    return part


def build_validation(data: DataArguments) -> Any | None:
    """What a training is validated on: of RefShapes 256 samples of its split `validation`, of a file all of it."""
    if not data.validation:
        return None
    name, options = data.validation["dataset"], data.validation.get("options", {})
    part = _part(name, options, data.seed, VALIDATION_LENGTH, split="validation")
    if isinstance(part, StreamedDataset):
        raise ValueError(f"data.validation: {name} is streamed and has no length; leave out streamed")
    return part


def _mixture(data: DataArguments, length: int | None) -> Mixture:
    # Parts that are both RefShapes are worlds of their own: they would show the same scenes.
    seeds = [data.seed + WORLDS_APART * number for number in range(len(data.parts))]
    parts = [
        _part(part["dataset"], part.get("options", {}), seed, None)
        for part, seed in zip(data.parts, seeds, strict=True)
    ]
    for entry, part in zip(data.parts, parts, strict=True):
        if isinstance(part, StreamedDataset):
            raise ValueError(
                f"data.parts: {entry['dataset']} is streamed and has no length; a mixture needs sets that are not"
            )
    shares, repeats = ([part.get(name) for part in data.parts] for name in ("share", "repeats"))
    weights = part_weights(parts, shares, repeats, data.temperature)
    if length is None:
        repeated = any(value is not None for value in repeats)
        length = round(sum(part_weights(parts, shares, repeats))) if repeated else epoch_length(parts, weights)
    return Mixture(parts, weights, length, data.seed)


def epoch_length(parts: list[Any], shares: list[float]) -> int:
    """Samples of a mixture in which the longest file (or, without files, the longest part) is read once.

    Args:
        parts: data sets. shares: how often each is drawn, in any unit.
    """
    lengths = [len(part) * sum(shares) / share for part, share in zip(parts, shares, strict=True)]
    finite = [length for part, length in zip(parts, lengths, strict=True) if not isinstance(part, RefShapes)]
    return math.ceil(max(finite or lengths))


def _part(name: str, options: dict[str, Any], seed: int, length: int | None, split: str = "train") -> Any:
    if name == "refshapes":
        return RefShapes(split, **{"seed": seed, **({} if length is None else {"length": length}), **options})
    return open_dataset(name, **options)


def option_fields(name: str | None) -> dict[str, Any]:
    """The options of a data set and their types, but for its name; those of all kinds where the name is not known."""
    if name is None:
        return {**reader_options(None), **option_fields("refshapes"), **SAMPLE_OPTIONS}
    if name == "refshapes":
        return {key: hint for key, hint in declared_fields(RefShapes).items() if key != "split"}
    return {**reader_options(name), **SAMPLE_OPTIONS}


def open_dataset(name: str | os.PathLike, **options: Any) -> RecordDataset | StreamedDataset:
    """A data set of files.

    Args:
        name: of the source, see `sources.open_source`. options: of its reader and of `RecordDataset`.

    Raises:
        FileNotFoundError: no such file. ValueError: a file of no known kind, records that are wrong (the message names
            the first ones), or an option that is.
    """
    own = {key: value for key, value in options.items() if key in SAMPLE_OPTIONS}
    source = open_source(os.fspath(name), **{key: value for key, value in options.items() if key not in own})
    records = source.records()
    return (StreamedDataset if isinstance(records, RecordStream) else RecordDataset)(records, source.name, **own)


__all__ = ["build_dataset", "build_validation", "epoch_length", "open_dataset", "option_fields"]
