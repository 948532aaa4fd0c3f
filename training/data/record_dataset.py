"""`RecordDataset`: records as `Sample`s, whatever file they come from.

Enters: a sequence of `Record`s, in memory or in an index on disk. Leaves: a map-style data set of `Sample`s. The
dialogues of a record share its encodings. (Paper section 4.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from .augmentation import Augmentation
from .frame_sampling import draw_frames
from .record_media import read_timed_frames
from .records import Dialogue, Record
from .sample import Conversation, Sample


class RecordSamples:
    """How records become samples, whether they come by number or from a stream.

    Args:
        name: of their file or set, named in errors.
        conversations: most dialogues of a record in one sample, drawn anew for every repetition; all of them by
            default. Limits memory where pictures carry dozens of expressions. Of alternatives (dialogues of one
            group) a sample has one.
        image_size: longest side of a picture in pixels; larger ones are shrunk, masks with them. Unchanged by default.
        num_frames: frames of a video in one sample, see `draw_frames`.
        flip, crop, color: how often a sample is changed at random, 0 to 1; see `Augmentation`.
        repeat: how often every record counts in one epoch.
        seed: of what is drawn.

    Raises:
        ValueError: an option that is no integer of at least 1.
    """

    def __init__(
        self,
        name: str,
        *,
        conversations: int | None = None,
        image_size: int | None = None,
        num_frames: int = 5,
        repeat: int = 1,
        flip: float = 0.0,
        crop: float = 0.0,
        color: float = 0.0,
        seed: int = 0,
    ) -> None:
        for option, value in (
            ("conversations", conversations),
            ("image_size", image_size),
            ("num_frames", num_frames),
            ("repeat", repeat),
        ):
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise ValueError(f"{option}={value!r} must be an integer of at least 1")
        self.name = name
        self.conversations = conversations
        self.image_size = image_size
        self.num_frames = num_frames
        self.repeat = repeat
        self.augmentation = Augmentation(flip, crop, color)
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Another epoch draws anew what is drawn; the records are the same."""
        self.epoch = epoch

    def sample(self, record: Record, repetition: int, rng: np.random.Generator) -> Sample:
        """A record as it is seen the `repetition`-th time, with what `rng` draws."""
        dialogues = self._draw(record.dialogues, rng)
        frames = draw_frames(record, dialogues, self.num_frames, repetition, rng)
        try:
            pixels, seconds = read_timed_frames(record, frames) if record.paths else (None, None)
        except (ValueError, OSError) as error:
            raise ValueError(f"{self.name}, {record.name}: {error}") from error
        conversations = [record.conversation(dialogue, frames) for dialogue in dialogues]
        if self.image_size is not None and max(record.size) > self.image_size:
            pixels, conversations = _shrink(pixels, conversations, self.image_size)
        name = f"{self.name}, {record.name}"
        return self.augmentation(Sample(pixels, tuple(conversations), record.is_video, name, seconds=seconds), rng)

    def _draw(self, dialogues: tuple[Dialogue, ...], rng: np.random.Generator) -> list[Dialogue]:
        kept = _one_of_each_group(dialogues, rng)
        if self.conversations is None or len(kept) <= self.conversations:
            return kept
        return [kept[number] for number in sorted(rng.permutation(len(kept))[: self.conversations].tolist())]


class RecordDataset(RecordSamples):
    """Samples of records that are read by their number.

    Args:
        records: checked. name, options: of `RecordSamples`.

    Raises:
        ValueError: no records, answers that are not public, or an option that is no integer of at least 1.
    """

    def __init__(self, records: Sequence[Record], name: str, **options: Any) -> None:
        super().__init__(name, **options)
        if not len(records):
            raise ValueError(f"{name}: no records")
        refuse_unlabelled(records[0], name)
        self.records = records

    def __len__(self) -> int:
        return len(self.records) * self.repeat

    def __getitem__(self, index: int) -> Sample:
        """The sample at `index`; the same in every process.

        Raises:
            IndexError: `index` is outside. ValueError: a picture or frame that cannot be decoded; the record is named.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} is outside {self.name} of length {len(self)}")
        repetition, number = divmod(int(index) % len(self), len(self.records))
        repetition += self.epoch * self.repeat
        rng = np.random.default_rng((self.seed, number, repetition))
        return self.sample(self.records[number], repetition, rng)


def refuse_unlabelled(record: Record, name: str) -> None:
    """Raises `ValueError` for a record of a split whose answers are not public."""
    if any(dialogue.kind.startswith("unlabelled") for dialogue in record.dialogues):
        raise ValueError(f"{name}: the answers of this split are not public, there is nothing to learn")


def _one_of_each_group(dialogues: tuple[Dialogue, ...], rng: np.random.Generator) -> list[Dialogue]:
    """Dialogues without a group, and of each group one, where its first stands."""
    groups: dict[int, list[Dialogue]] = {}
    for dialogue in dialogues:
        if dialogue.group is not None:
            groups.setdefault(dialogue.group, []).append(dialogue)
    drawn = {group: members[int(rng.integers(len(members)))] for group, members in groups.items()}
    return [
        dialogue if dialogue.group is None else drawn.pop(dialogue.group)
        for dialogue in dialogues
        if dialogue.group is None or dialogue.group in drawn
    ]


def _shrink(
    frames: np.ndarray, conversations: list[Conversation], longest: int
) -> tuple[np.ndarray, list[Conversation]]:
    """Frames and masks with a longest side of `longest` pixels; a mask's pixel is kept where its centre falls."""
    height, width = frames.shape[1:3]
    scale = longest / max(height, width)
    size = max(1, round(height * scale)), max(1, round(width * scale))
    small = [np.asarray(Image.fromarray(frame).resize(size[::-1], Image.Resampling.BILINEAR)) for frame in frames]
    rows = ((np.arange(size[0]) + 0.5) * height / size[0]).astype(int)
    columns = ((np.arange(size[1]) + 0.5) * width / size[1]).astype(int)
    shrunk = [
        replace(
            item,
            masks=item.masks[:, :, rows[:, None], columns],
            regions=None if item.regions is None else item.regions[:, rows[:, None], columns],
        )
        for item in conversations
    ]
    return np.stack(small), shrunk


__all__ = ["RecordDataset", "RecordSamples", "refuse_unlabelled"]
