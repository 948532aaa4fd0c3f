"""Asking back: does an outlined region show what was meant?

In: the masks of an answer on the key frames, and the phrase each should fit. Out: one batch of closed sequences, each
with a picture of its own in which one region is outlined and the answer that would agree, ready to be read at once.
(METHOD section 6; the region prompts are those of Sa2VA's visual-prompt dialogue. The paper asks nothing back.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from desa2va.processing.inputs import draw_regions

from .batch_assembly import BatchAssembler, BatchPlan, SequencePlan
from .user_request import VisualInfo

VERIFY_REQUEST = "Is region 1 {}?"
AGREE, DISAGREE = ("yes", "Yes"), ("no", "No")


@dataclass
class Check:
    """One question.

    Attributes:
        visual: number of the visual. frame: of it. mask: bool `(H, W)` at source size, with a pixel.
        phrase: what it should show.
    """

    visual: int
    frame: int
    mask: np.ndarray
    phrase: str


def ask_back(
    assembler: BatchAssembler, visuals: list[VisualInfo], checks: list[Check], max_tiles: int
) -> tuple[dict[str, torch.Tensor], list[int], list[int]]:
    """All questions as one batch, and what answers to them begin with.

    Args:
        assembler: of the processor. visuals: of the batch that was answered. checks: without any the batch is empty.
        max_tiles: most tiles of a picture.

    Returns:
        The batch, as `BatchAssembler.assemble` makes it for training: `labels` begin where the answer does. First
        tokens of answers that agree, and of those that do not.

    Raises:
        ValueError: a model that knows no outlined regions, or not the words yes and no.
    """
    if assembler.prompt_rule == "sa2va":
        raise ValueError(
            "verify=True outlines masks and asks about them; Sa2VA's published models know no outlined regions"
        )
    plan = BatchPlan()
    frames: dict[tuple[int, int], np.ndarray] = {}
    images: dict[tuple[int, int, bytes], int] = {}  # what several requests marked alike is outlined and encoded once
    for check in checks:
        key = check.visual, check.frame
        if key not in frames:
            (frames[key],) = visuals[check.visual].source.read([check.frame])
        place = *key, np.packbits(check.mask).tobytes()
        if place not in images:
            picture = draw_regions(frames[key], check.mask[None])
            images[place] = plan.add_image(picture, max_tiles if visuals[check.visual].kind == "image" else 1)
        messages = [("user", VERIFY_REQUEST.format(check.phrase)), ("assistant", AGREE[0])]
        plan.sequences.append(
            SequencePlan(messages, [images[place]], check.visual, name=f"the check of {check.phrase!r:.60}")
        )
    return assembler.assemble(plan, training=True) if checks else {}, *answer_ids(assembler.encoder)


def answer_ids(encoder: Any) -> tuple[list[int], list[int]]:
    """First tokens of answers that agree, and of those that do not; what both begin with tells nothing.

    Raises:
        ValueError: nothing is left, as with a tokenizer that knows neither word.
    """
    agree, disagree = ({encoder.plain(word)[0] for word in words} for words in (AGREE, DISAGREE))
    agree, disagree = agree - disagree, disagree - agree
    if not agree or not disagree:
        raise ValueError("verify=True compares the words yes and no, which this tokenizer begins with one token")
    return sorted(agree), sorted(disagree)


__all__ = ["VERIFY_REQUEST", "Check", "answer_ids", "ask_back"]
