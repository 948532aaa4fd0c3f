"""An explanation as one picture.

In: for each object a frame, the masks of its branches and the map of their disagreement. Out: one row per object:
text, visual, fused, disagreement, with gate and scores below, and of a video its scores over the frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from desa2va.processing.files import overlay_masks

_PANEL = 288  # pixels of the longer side of a panel
_NARROWEST = 150  # of the place of a panel, so that its name can be read
_MARGIN = 8
_LINE = 18  # height of a line of words
_CURVE = 70  # height of the curves of a video
_PAPER, _INK, _GREY = (255, 255, 255), (20, 20, 20), (150, 150, 150)
_COLOURS = {"predicted IoU": (31, 119, 180), "object score": (214, 39, 40)}


def draw_explanation(rows: Sequence[tuple[np.ndarray, dict[str, np.ndarray], np.ndarray, Any, int]]) -> np.ndarray:
    """The picture, uint8 `(h, w, 3)`.

    Args:
        rows: of each object the frame uint8 `(H, W, 3)`, masks by name bool `(H, W)`, disagreement float32 `(H, W)` in
            [0, 1], the `ObjectExplanation` and the number of its key frame.
    """
    drawn = [_draw_row(*row) for row in rows]
    sheet = Image.new("RGB", (max(row.width for row in drawn), sum(row.height for row in drawn)), _PAPER)
    top = 0
    for row in drawn:
        sheet.paste(row, (0, top))
        top += row.height
    return np.asarray(sheet).copy()


def _draw_row(
    frame: np.ndarray, masks: dict[str, np.ndarray], disagreement: np.ndarray, entry: Any, k: int
) -> Image.Image:
    panels = {name: overlay_masks(frame, [mask], object_ids=[entry.object_id]) for name, mask in masks.items()}
    panels["disagreement"] = heat(frame, disagreement)
    scale = _PANEL / max(frame.shape[:2])
    size = tuple(max(1, round(side * scale)) for side in (frame.shape[1], frame.shape[0]))
    place = max(size[0], _NARROWEST)
    is_video = len(entry.iou_scores) > 1
    height = size[1] + 3 * _LINE + 2 * _MARGIN + (_CURVE + 2 * _MARGIN if is_video else 0)
    row = Image.new("RGB", (len(panels) * (place + _MARGIN) + _MARGIN, height), _PAPER)
    draw, font = ImageDraw.Draw(row), ImageFont.load_default(size=13)
    draw.text((_MARGIN, 2), entry.phrase or f"object {entry.object_id}", _INK, font)
    for number, (name, panel) in enumerate(panels.items()):
        left = _MARGIN + number * (place + _MARGIN)
        draw.text((left, 2 + _LINE), name, _GREY, font)
        # Enlarged pixels stay pixels; the picture is looked at, not measured.
        how = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BILINEAR
        row.paste(Image.fromarray(panel).resize(size, how), (left, 2 * _LINE))
    frame_number = entry.key_frames[k]
    words = (
        f"frame {frame_number}: gate {entry.gates[k]:.2f} (1: visual alone), branches disagree by "
        f"{entry.disagreement[k]:.2f} (1 - IoU), predicted IoU {entry.iou_scores[frame_number]:.2f}, "
        f"object score {entry.object_scores[frame_number]:.2f}"
    )
    draw.text((_MARGIN, 2 * _LINE + size[1] + 2), words, _INK, font)
    if is_video:
        _draw_curves(
            draw, entry, (_MARGIN, 3 * _LINE + size[1] + _MARGIN, row.width - _MARGIN, height - _MARGIN), font
        )
    return row


def _draw_curves(draw: ImageDraw.ImageDraw, entry: Any, box: tuple[int, int, int, int], font: Any) -> None:
    """Scores over the frames, 0 at the bottom and 1 at the top of a box; key frames are marked."""
    left, top, right, bottom = box
    last = len(entry.iou_scores) - 1

    def place(frame: int, value: float) -> tuple[float, float]:
        return left + (right - left) * frame / last, bottom - (bottom - top) * value

    draw.rectangle(box, outline=_GREY)
    for frame in entry.key_frames:
        draw.line([place(frame, 0), place(frame, 1)], fill=(225, 225, 225))
    columns = (entry.iou_scores, entry.object_scores)
    for number, ((name, colour), values) in enumerate(zip(_COLOURS.items(), columns, strict=True)):
        draw.line([place(frame, value) for frame, value in enumerate(values)], fill=colour, width=2)
        draw.text((left + 6 + 110 * number, bottom - _LINE), name, colour, font)


def heat(frame: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values in [0, 1] float32 `(H, W)` over a grey, darker frame uint8 `(H, W, 3)`: 0 grey, then red, 1 yellow."""
    grey = frame.astype(np.float32).mean(axis=2, keepdims=True).repeat(3, axis=2) * 0.6
    colour = np.stack([np.full_like(values, 255), 255 * np.clip(2 * values - 1, 0, 1), np.zeros_like(values)], axis=2)
    weight = np.clip(2 * values, 0, 1)[..., None]
    return np.rint((1 - weight) * grey + weight * colour).astype(np.uint8)


__all__ = ["draw_explanation", "heat"]
