"""`FineTuneDataset`: a user's fine-tune JSON as `Sample`s. No Python to write.

Enters: a file of records (`finetune_records` says what one holds). Leaves: a map-style data set of `Sample`s; the
whole file is checked first, so that a wrong record 900 is not found in hour nine. Every expression becomes a
conversation of its own, worded as `task="segment"` words it at inference; those of a visual share its encodings.
(Paper section 4.)
"""

from __future__ import annotations

import os
import re
from dataclasses import replace

import numpy as np
from PIL import Image

from desa2va.processing.batch import apply_task
from desa2va.processing.inputs import frame_seconds, key_frame_indices, load_image, open_visual

from .finetune_records import Record, check_file
from .refshapes import SINGLE_ANSWER
from .sample import Conversation, Sample

SHOWN_PROBLEMS = 5
_ARTICLE = re.compile(r"^(the|a|an)\s+", re.IGNORECASE)


class FineTuneDataset:
    """Records of a fine-tune JSON.

    Args:
        path: the JSON list, or JSON lines.
        image_root: where file names start from; by default the folder `images` beside the file if there is one, else
            the file's own folder.
        conversations: most expressions and chats of a record in one sample, drawn anew for every repetition; all of
            them by default. Limits memory where pictures carry dozens of expressions.
        image_size: longest side of a picture in pixels; larger ones are shrunk, masks with them. Unchanged by default.
        num_frames: frames of a video in one sample: the first time the key frames that inference would choose, in
            later repetitions and epochs one drawn from each of as many stretches.
        repeat: how often every record counts in one epoch.
        seed: of what is drawn.

    Raises:
        FileNotFoundError: no file. ValueError: a file that is no JSON, or records that are wrong; the message names
            the first ones by number and file and says what would be right.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        *,
        image_root: str | os.PathLike | None = None,
        conversations: int | None = None,
        image_size: int | None = None,
        num_frames: int = 5,
        repeat: int = 1,
        seed: int = 0,
    ) -> None:
        for name, value in (
            ("conversations", conversations),
            ("image_size", image_size),
            ("num_frames", num_frames),
            ("repeat", repeat),
        ):
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise ValueError(f"{name}={value!r} must be an integer of at least 1")
        report = check_file(path, image_root)
        if report.problems:
            shown = "; ".join(map(str, report.problems[:SHOWN_PROBLEMS]))
            more = len(report.problems) - SHOWN_PROBLEMS
            rest = f"; and {more} more: `desa2va data check {path}` lists all" if more > 0 else ""
            raise ValueError(f"{path}: {len(report.problems)} of its records are wrong: {shown}{rest}")
        self.path = os.fspath(path)
        self.records = report.records
        self.conversations = conversations
        self.image_size = image_size
        self.num_frames = num_frames
        self.repeat = repeat
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Another epoch draws anew what is drawn; the records are the same."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.records) * self.repeat

    def __getitem__(self, index: int) -> Sample:
        """The sample at `index`; the same in every process.

        Raises:
            IndexError: `index` is outside. ValueError: a picture or frame that cannot be decoded; the record is named.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} is outside {self.path} of length {len(self)}")
        repetition, number = divmod(int(index) % len(self), len(self.records))
        repetition += self.epoch * self.repeat
        record = self.records[number]
        rng = np.random.default_rng((self.seed, number, repetition))
        frames = self._frame_numbers(record, repetition, rng)
        try:
            pixels, seconds = read_timed_frames(record, frames)
        except ValueError as error:
            raise ValueError(f"{self.path}, record {record.number}: {error}") from error
        said = self._draw(len(record.texts) + len(record.turns), rng)
        conversations = [self.conversation(record, which, frames) for which in said]
        if self.image_size is not None and max(record.size) > self.image_size:
            pixels, conversations = _shrink(pixels, conversations, self.image_size)
        name = f"{self.path}, {record.name}"
        return Sample(pixels, tuple(conversations), record.is_video, name, seconds=seconds)

    def _frame_numbers(self, record: Record, repetition: int, rng: np.random.Generator) -> list[int]:
        count = min(self.num_frames, record.num_frames)
        if repetition == 0 or count == record.num_frames:
            return key_frame_indices("uniform", record.num_frames, count)
        edges = np.linspace(0, record.num_frames, count + 1).astype(int)
        return [int(rng.integers(start, stop)) for start, stop in zip(edges, edges[1:], strict=False)]

    def _draw(self, count: int, rng: np.random.Generator) -> list[int]:
        if self.conversations is None or count <= self.conversations:
            return list(range(count))
        return sorted(rng.permutation(count)[: self.conversations].tolist())

    @staticmethod
    def conversation(record: Record, which: int, frames: list[int]) -> Conversation:
        """Expression number `which`, or the chat that many after the last expression."""
        if which >= len(record.texts):
            masks = np.zeros((0, len(frames), *record.size), bool)
            return Conversation(record.turns[which - len(record.texts)], masks, kind="chat")
        text = record.texts[which]
        if record.codes[which] is None:
            masks = np.zeros((0, len(frames), *record.size), bool)
            return Conversation(((segment_request(text), no_target_answer(text)),), masks, kind="no_target")
        mask = record.mask(which, frames)[None]
        return Conversation(((segment_request(text), SINGLE_ANSWER),), mask, (bare_phrase(text),), "target")


def segment_request(text: str) -> str:
    """What the user says for an expression: the words that `task="segment"` puts around it."""
    return apply_task(text, "segment", "")


def bare_phrase(text: str) -> str:
    """The expression without its article and full stop, as the text branch reads it: `"dog on the left"`."""
    phrase = text.strip().rstrip(".").rstrip()
    return _ARTICLE.sub("", phrase) or phrase


def no_target_answer(text: str) -> str:
    """The answer where nothing fits an expression."""
    return f"There is no {bare_phrase(text)}."


def read_frames(record: Record, frames: list[int]) -> np.ndarray:
    """The pixels of a record's frames: uint8 `(T, H, W, 3)`.

    Raises:
        ValueError: a file that cannot be decoded.
    """
    return read_timed_frames(record, frames)[0]


def read_timed_frames(record: Record, frames: list[int]) -> tuple[np.ndarray, tuple[float, ...] | None]:
    """`read_frames`, and the seconds of each frame (`None` for a picture): those that inference on the file tells."""
    if record.of_pictures or not record.is_video:
        pixels = np.stack([load_image(record.paths[frame]) for frame in frames])
        return pixels, tuple(frame_seconds(None, frames)) if record.is_video else None
    source = open_visual(record.paths[0])
    return np.stack(source.read(frames)), tuple(frame_seconds(source, frames))


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
    shrunk = [replace(item, masks=item.masks[:, :, rows[:, None], columns]) for item in conversations]
    return np.stack(small), shrunk


__all__ = ["FineTuneDataset", "bare_phrase", "no_target_answer", "read_frames", "read_timed_frames", "segment_request"]
