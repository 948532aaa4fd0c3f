"""The first batch as a picture: what is seen, what is asked, and which words are learned.

Enters: samples and their collated batch. Leaves: a PNG: pictures with their masks, and under each the text of its
sequences as the tokenizer reads it back, learned tokens in colour. A wrong label or a shifted mask shows here, not
after a night. (Engineering; no paper section.)
"""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from desa2va.processing.files import overlay_masks, write_file

WIDTH, LINE, MARGIN = 960, 15, 6
READ, LEARNED = "#555555", "#b00020"
SIDE = 320


def draw_batch(samples: list[Any], batch: dict[str, Any], processor: Any, path: Path) -> Path:
    """Draws a batch.

    Args:
        samples: as they were collated. batch: of `processor.collate`. path: of the PNG; its folder is made.

    Returns:
        `path`.
    """
    sequences = iter(zip(batch["input_ids"].tolist(), batch["labels"].tolist(), strict=True))
    parts = []
    for sample in samples:
        if sample.frames is not None:
            parts.append(_frames(sample))
        parts += [_text(*next(sequences), processor) for _ in range(_sequences_of(sample, samples, batch))]
    canvas = np.full((sum(len(part) for part in parts), WIDTH, 3), 255, np.uint8)
    row = 0
    for part in parts:
        canvas[row : row + len(part), : part.shape[1]] = part
        row += len(part)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, Image.fromarray(canvas).save, overwrite=True)
    return path


def _sequences_of(sample: Any, samples: list[Any], batch: dict[str, Any]) -> int:
    """Sequences of a sample: one per conversation, unless conversations share one."""
    conversations = sum(len(each.conversations) for each in samples)
    if conversations == len(batch["input_ids"]):
        return len(sample.conversations)
    return 1


def _frames(sample: Any) -> np.ndarray:
    """All frames in a row, all masks of all conversations on them."""
    masks = [mask for conversation in sample.conversations for mask in conversation.masks]
    labels = [label for conversation in sample.conversations for label in conversation.labels]
    shown = []
    for number, frame in enumerate(sample.frames[: WIDTH // SIDE]):
        drawn = Image.fromarray(overlay_masks(frame, [mask[number] for mask in masks], labels=labels))
        height = max(1, round(SIDE * drawn.height / drawn.width))
        shown.append(np.asarray(drawn.resize((SIDE, height))))
    return np.concatenate(shown, axis=1)


def _text(ids: list[int], labels: list[int], processor: Any) -> np.ndarray:
    """One sequence; runs of one token (picture places, padding) are counted."""
    font = ImageFont.load_default(size=11)
    strip = Image.new("RGB", (WIDTH, LINE * 200), "white")
    draw, x, y = ImageDraw.Draw(strip), MARGIN, MARGIN
    for (token, learned), run in groupby(zip(ids, [label != -100 for label in labels], strict=True)):
        count = len(list(run))
        text = processor.tokenizer.decode([token]).replace("\n", "\\n")
        for piece in [f"{text}x{count} "] if count > 3 else [text] * count:
            length = draw.textlength(piece, font=font)
            if x + length > WIDTH - MARGIN:
                x, y = MARGIN, y + LINE
            if y < strip.height - LINE:
                draw.text((x, y), piece, font=font, fill=LEARNED if learned else READ)
            x += length
    return np.asarray(strip)[: min(y + LINE + MARGIN, strip.height)]


__all__ = ["draw_batch"]
