"""Prompts in the words of Sa2VA's `predict_forward`: `<image>` in the text, regions, a history as one string.

In: what that function takes. Out: a `SequencePlan` whose prompt is encoded in one piece, control tokens as such: a
`[SEG]` in the text is one.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from .batch_assembly import BatchAssembler, SequencePlan

IMAGE = "<image>"


def sa2va_sequence(
    assembler: BatchAssembler, images: list[int], text: str, past_text: str, regions: list[list[int]] | None
) -> SequencePlan:
    """The one sequence of `predict_forward`.

    Args:
        assembler: of a processor with `prompt_rule="sa2va"`.
        images: of the picture or of the frames, as indices of the batch's images; empty for text alone.
        text: of the user. InternVL: pictures stand where `<image>` is; Qwen-VL: in front.
        past_text: what was said before, with the prompt format's control tokens.
        regions: cells of each region (`region_cells`), or `None`.

    Raises:
        ValueError: a picture without its place in the text, or several places; regions with a history or with Qwen-VL.
    """
    history, shown = past_text, ""
    if assembler.mllm_type != "internvl":
        if regions is not None:
            raise ValueError("mask_prompts= are regions of InternVL's pictures; Sa2VA's Qwen-VL models have none")
        text = text.replace(IMAGE, "")
        if images:
            if past_text:
                warnings.warn("past_text is not read beside a picture by Sa2VA's Qwen-VL models", stacklevel=4)
            text, history = assembler.visual_text(len(images)) + text, ""
        else:
            text, history = past_text + text, ""
    elif images:
        if past_text and (IMAGE in text or regions is not None):
            raise ValueError(
                "past_text= must be empty where text= shows a picture; ask about it in a new conversation"
            )
        if text.count(IMAGE) != 1:
            raise ValueError(f"text= must hold {IMAGE} once, where the picture or video belongs, got {text!r:.60}")
        shown = assembler.visual_text(len(images)) + ("" if regions is None else _region_text(regions))
        text = text.replace(IMAGE, shown)
    else:
        text = text.replace(IMAGE, "")
    prompt = history + assembler.encoder.render([("user", text)])
    return SequencePlan([], images, 0 if images else -1, prompt=prompt, region_cells=regions or [], name="text")


def _region_text(regions: list[list[int]]) -> str:
    """One image token for every region; a region without a cell has none."""
    parts = [f"region{number + 1}<vp>{'<IMG_CONTEXT>' if cells else ''}</vp>" for number, cells in enumerate(regions)]
    return f"\nThere are {len(regions)} part regions in the picture: {', '.join(parts)}.\n"


def region_cells(mask_prompts: Any, side: int) -> list[list[int]]:
    """Cells of the picture's token grid that each region covers.

    Args:
        mask_prompts: a list with one array `(regions, H, W)` of 0 and 1. side: of the grid, in tokens.

    Returns:
        For each region the numbers of its cells, row by row; none for one that vanishes between the grid's points.

    Raises:
        ValueError: anything else.
    """
    masks = np.asarray(mask_prompts[0] if isinstance(mask_prompts, (list, tuple)) and len(mask_prompts) else [])
    if masks.ndim != 3 or not len(masks) or masks.dtype.kind not in "buif":
        raise ValueError(
            f"mask_prompts= is a list with one array (regions, height, width) of 0 and 1, got shape {masks.shape}"
        )
    cells = F.interpolate(torch.from_numpy(masks.astype(np.float32))[None], (side, side), mode="nearest")[0]
    return [row.flatten().nonzero()[:, 0].tolist() for row in cells.bool()]


__all__ = ["IMAGE", "region_cells", "sa2va_sequence"]
