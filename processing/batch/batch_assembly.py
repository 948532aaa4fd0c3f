"""Sequences and frames to padded model inputs; the part that training and inference share.

In: the frames of each visual and, for each sequence, its messages and the images it shows. Out: a dictionary of
tensors with the keys of `DeSa2VAModel.forward` (paper section 3.1). Sequences that show the same image share its
pixel rows through `image_index`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from .chat_encoding import IGNORED_LABEL, ChatEncoder, EncodedChat
from .frame_labels import frame_texts
from .image_rows import ImageRows, internvl_rows, qwen_rows, sam_pixels

_QWEN = ("<|vision_start|>", "<|image_pad|>", "<|vision_end|>")
PLACEHOLDERS = {
    "internvl": ("<img>", "<IMG_CONTEXT>", "</img>"),
    "qwen2_5_vl": _QWEN,
    "qwen3_vl": _QWEN,
    "qwen3_5": _QWEN,
}


@dataclass
class SequencePlan:
    """One sequence of the batch.

    Attributes:
        messages: `(role, text)` in order.
        images: indices of the images shown before the first user text; empty for text alone.
        visual: index of the visual, -1 for text alone.
        seconds: of the images, where they are frames of a video; `None` for pictures. See `frame_texts`.
        name: named in errors.
        prompt: the whole prompt in place of `messages`, encoded in one piece; one image token for every run of them.
        region_cells: for each region of the first image the cells of its last tile that are shown again, after it.
        ending: see `Dialogue`; in training every sequence is closed.
    """

    messages: list[tuple[str, str]]
    images: list[int] = field(default_factory=list)
    visual: int = -1
    seconds: list[float] | None = None
    name: str = ""
    prompt: str | None = None
    region_cells: list[list[int]] = field(default_factory=list)
    ending: str = "answer"


@dataclass
class BatchPlan:
    """What a batch holds before any pixel is resized.

    Attributes:
        images: frames for the language model, uint8 `(H, W, 3)`, with visual prompts drawn.
        max_tiles: tiles allowed for each image (InternVL).
        sam_frames: clean frames for SAM-2, uint8 `(H, W, 3)`.
        sam_frame_visual: the visual of each SAM-2 frame.
        sequences: the sequences, in the order of the batch.
    """

    images: list[np.ndarray] = field(default_factory=list)
    max_tiles: list[int] = field(default_factory=list)
    sam_frames: list[np.ndarray] = field(default_factory=list)
    sam_frame_visual: list[int] = field(default_factory=list)
    sequences: list[SequencePlan] = field(default_factory=list)

    def add_image(self, frame: np.ndarray, max_tiles: int) -> int:
        """Adds a frame for the language model and returns its index."""
        self.images.append(frame)
        self.max_tiles.append(max_tiles)
        return len(self.images) - 1

    def add_sam_frames(self, frames: list[np.ndarray], visual: int) -> None:
        """Adds the key frames of a visual for SAM-2."""
        self.sam_frames.extend(frames)
        self.sam_frame_visual.extend([visual] * len(frames))


class BatchAssembler:
    """Turns a `BatchPlan` into tensors for one kind of language model.

    Args:
        encoder: encodes the chats.
        mllm_type: one of `PLACEHOLDERS`.
        image_processor: the language model's image processor.
        sam_image_processor: SAM-2's image processor.
        image_seq_length: tokens of an InternVL tile.
        max_length: longest sequence allowed.
        prompt_rule: `"native"`, or `"sa2va"`: images without line break and frames without number, and at inference a
            prompt in one piece (see `ChatEncoder.whole`).
        frame_labels: one of `FRAME_LABELS`.
    """

    def __init__(
        self,
        encoder: ChatEncoder,
        mllm_type: str,
        image_processor: Any,
        sam_image_processor: Any,
        image_seq_length: int,
        max_length: int,
        prompt_rule: str = "native",
        frame_labels: str = "number",
    ) -> None:
        self.prompt_rule = prompt_rule
        self.frame_labels = frame_labels
        self.encoder = encoder
        self.mllm_type = mllm_type
        self.image_processor = image_processor
        self.sam_image_processor = sam_image_processor
        self.image_seq_length = image_seq_length
        self.max_length = max_length
        start, context, end = (encoder.tokenizer.convert_tokens_to_ids(token) for token in PLACEHOLDERS[mllm_type])
        self.start_id, self.context_id, self.end_id = start, context, end
        self.newline = encoder.control("\n") if mllm_type == "internvl" else []

    def placeholder(self, token_counts: list[int], seconds: list[float] | None) -> list[int]:
        """Ids that stand for images of `token_counts` tokens each, in front of the text.

        InternVL: `<img>..</img>` and a line break. Qwen-VL: `<|vision_start|>..<|vision_end|>` one after the other.
        Frames of a video (`seconds`) have their label in front (`frame_texts`). Sa2VA's InternVL: frames apart by a
        line break, nothing else.
        """
        ids: list[int] = []
        if self.prompt_rule == "sa2va":
            for index, count in enumerate(token_counts):
                ids += [*(self.newline if index else []), self.start_id, *[self.context_id] * count, self.end_id]
            return ids
        labels = [""] * len(token_counts) if seconds is None else frame_texts(self.frame_labels, seconds)
        for label, count in zip(labels, token_counts, strict=True):
            ids += self.encoder.plain(label)
            ids += [self.start_id, *[self.context_id] * count, self.end_id, *self.newline]
        return ids

    def visual_text(self, count: int) -> str:
        """The text that stands for `count` images where a prompt is encoded in one piece: one token each."""
        return ("\n" if self.newline else "").join(["".join(PLACEHOLDERS[self.mllm_type])] * count)

    def encode(self, sequence: SequencePlan, counts: list[int], training: bool) -> EncodedChat:
        """Ids and labels of one sequence whose images have `counts` tokens."""
        if sequence.prompt is not None:
            shown = [*counts, *(len(cells) for cells in sequence.region_cells if cells)]
            chat = EncodedChat()
            chat.extend(self.encoder.whole(sequence.prompt, self.context_id, shown))
            return chat
        texts = [text for _, text in sequence.messages]
        ending = "closed" if training else sequence.ending
        control = any(self.encoder.has_control(text) for text in texts)
        if ending != "answer" or self.prompt_rule == "native" or control:
            return self.encoder.encode(sequence.messages, self.placeholder(counts, sequence.seconds), ending)
        messages, first = list(sequence.messages), [role for role, _ in sequence.messages].index("user")
        messages[first] = ("user", self.visual_text(len(counts)) + messages[first][1])
        chat = EncodedChat()
        chat.extend(self.encoder.whole(self.encoder.render(messages), self.context_id, counts))
        return chat

    def rows(self, plan: BatchPlan) -> ImageRows | None:
        """Language-model pixels of all images of the plan, `None` when it has none."""
        if not plan.images:
            return None
        if self.mllm_type == "internvl":
            return internvl_rows(self.image_processor, plan.images, plan.max_tiles, self.image_seq_length)
        return qwen_rows(self.image_processor, plan.images)

    def assemble(self, plan: BatchPlan, training: bool) -> dict[str, torch.Tensor]:
        """Builds the batch.

        Args:
            plan: what the batch holds.
            training: right padding and `labels`; otherwise left padding and the opening of an answer.

        Returns:
            With sequences `input_ids`, `attention_mask` long `(B, N)`, `sequence_visual` long `(B,)`, and `labels`
            long `(B, N)` when training. With images `pixel_values` of each image once, `image_index` long `(M,)` (the
            image of each placeholder run, in reading order), and `num_tiles` `(images,)` (InternVL) or
            `image_grid_thw` `(images, 3)` and `mm_token_type_ids` `(B, N)` (Qwen). With SAM-2 frames
            `sam_pixel_values` float `(F, 3, S, S)` and `sam_frame_visual` long `(F,)`.

        Raises:
            ValueError: a sequence is longer than `max_length`; nothing is ever cut off.
        """
        rows = self.rows(plan)
        chats = []
        for sequence in plan.sequences:
            counts = [rows.tokens_per_image[index] for index in sequence.images] if rows is not None else []
            chat = self.encode(sequence, counts, training)
            if len(chat.input_ids) > self.max_length:
                raise ValueError(
                    f"{sequence.name}: {len(chat.input_ids)} tokens ({sum(counts)} of them for the picture), more "
                    f"than max_length={self.max_length}; shorten the text, use fewer frames or raise max_length"
                )
            chats.append(chat)
        batch = self._text(plan, chats, training) if chats else {}
        if rows is not None:
            batch.update(self._pixels(plan, rows, batch["input_ids"]))
        if plan.sam_frames:
            batch["sam_pixel_values"] = sam_pixels(self.sam_image_processor, plan.sam_frames)
            batch["sam_frame_visual"] = torch.tensor(plan.sam_frame_visual)
        return batch

    def _text(self, plan: BatchPlan, chats: list[EncodedChat], training: bool) -> dict[str, torch.Tensor]:
        """The token entries of the batch."""
        batch = {
            "input_ids": _pad([chat.input_ids for chat in chats], self.encoder.tokenizer.pad_token_id, training),
            "attention_mask": _pad([[1] * len(chat.input_ids) for chat in chats], 0, training),
        }
        if training:
            batch["labels"] = _pad([chat.labels for chat in chats], IGNORED_LABEL, training)
        batch["sequence_visual"] = torch.tensor([sequence.visual for sequence in plan.sequences])
        return batch

    def _pixels(self, plan: BatchPlan, rows: ImageRows, input_ids: torch.Tensor) -> dict[str, torch.Tensor]:
        """The language model's pixel entries of the batch."""
        shown = [index for sequence in plan.sequences for index in sequence.images]
        shared = {"pixel_values": rows.pixel_values, "image_index": torch.tensor(shown)}
        if self.mllm_type == "internvl":
            shared |= _region_cells(plan)
            return {**shared, "num_tiles": torch.tensor(rows.rows_per_image)}
        token_types = (input_ids == self.context_id).long()
        return {**shared, "image_grid_thw": rows.grid_thw, "mm_token_type_ids": token_types}


def _region_cells(plan: BatchPlan) -> dict[str, torch.Tensor]:
    """Long `(K, 2)`, run and cell, where sequences show regions."""
    cells, run = [], 0
    for sequence in plan.sequences:
        cells += [[run, cell] for region in sequence.region_cells for cell in region]
        run += len(sequence.images)
    return {"region_cells": torch.tensor(cells)} if cells else {}


def _pad(sequences: list[list[int]], value: int, right: bool) -> torch.Tensor:
    """Long `(B, N)`; `value` fills the end (`right`) or the beginning of shorter sequences."""
    length = max(len(sequence) for sequence in sequences)
    fills = [[value] * (length - len(sequence)) for sequence in sequences]
    pairs = zip(sequences, fills, strict=True)
    return torch.tensor([sequence + fill if right else fill + sequence for sequence, fill in pairs])


__all__ = ["PLACEHOLDERS", "BatchAssembler", "BatchPlan", "SequencePlan"]
