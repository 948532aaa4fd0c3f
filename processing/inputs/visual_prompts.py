"""Points, boxes and masks that a user gives, for SAM-2 as coordinates and for the language model as drawings.

In: prompts in pixels of the source picture. Out: SAM-2 prompts in pixels of its square input, and the frame with a
coloured outline around each region for the language model (visual prompts in the manner of ViP-LLaVA; Sa2VA's
visual-prompt dialogue). SAM-2 always sees the clean picture.

Coordinates are `(x, y)`, x to the right, y down, `(0, 0)` the top left corner of the picture and `(W, H)` its
bottom right corner. A box is `(x0, y0, x1, y1)` with `x0 < x1` and `y0 < y1`. Of a video the prompts mark the first
key frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

MAX_CLICKS = 1000  # of one object on one frame
MAX_OBJECTS = 1000  # that prompts mark in one visual
# Colours of the outlines, in the order in which regions are drawn; region i takes colour i modulo their number.
REGION_COLOURS = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "magenta": (255, 0, 255),
    "cyan": (0, 255, 255),
    "orange": (255, 128, 0),
    "white": (255, 255, 255),
}


def _dilate(mask: np.ndarray, radius: int) -> np.ndarray:
    """Bool `(H, W)` grown by `radius` pixels in the four directions, repeatedly (a diamond)."""
    for _ in range(radius):
        grown = mask.copy()
        grown[1:] |= mask[:-1]
        grown[:-1] |= mask[1:]
        grown[:, 1:] |= mask[:, :-1]
        grown[:, :-1] |= mask[:, 1:]
        mask = grown
    return mask


def _erode(mask: np.ndarray) -> np.ndarray:
    """Bool `(H, W)` without its outermost pixels; the border of the picture counts as outside."""
    padded = np.pad(mask, 1)
    return padded[1:-1, 1:-1] & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]


def outline_width(height: int, width: int) -> int:
    """Width of a drawn outline in pixels: 1 % of the shorter side, at least 2."""
    return max(2, round(min(height, width) / 100))


def draw_regions(frame: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """Draws a coloured outline around each region.

    Args:
        frame: uint8 `(H, W, 3)`; not changed.
        regions: bool `(R, H, W)`; an empty region draws nothing.

    Returns:
        uint8 `(H, W, 3)`. The outline lies around the region and covers its outermost pixel, so that a region that
        fills the picture stays visible.

    Raises:
        ValueError: the regions are not of the frame's size.
    """
    regions = np.asarray(regions, dtype=bool)
    if regions.ndim != 3 or regions.shape[1:] != frame.shape[:2]:
        raise ValueError(f"regions must be (R, {frame.shape[0]}, {frame.shape[1]}), got shape {regions.shape}")
    drawn = frame.copy()
    radius = outline_width(*frame.shape[:2]) - 1
    colours = list(REGION_COLOURS.values())
    for index, region in enumerate(regions):
        drawn[_dilate(region, radius) & ~_erode(region)] = colours[index % len(colours)]
    return drawn


@dataclass
class ObjectPrompt:
    """What marks one object, in source pixels; at least one field is given.

    Attributes:
        points: float `(k, 2)`.
        point_labels: int `(k,)`: 1 on the object, 0 beside it.
        box: float `(4,)`.
        mask: bool `(H, W)`.
    """

    points: np.ndarray | None = None
    point_labels: np.ndarray | None = None
    box: np.ndarray | None = None
    mask: np.ndarray | None = None

    def region(self, height: int, width: int) -> np.ndarray:
        """Bool `(H, W)` that is outlined for the language model: the mask, else the box, else discs at the points."""
        if self.mask is not None:
            return self.mask
        rows, columns = np.mgrid[:height, :width] + 0.5
        if self.box is not None:
            x0, y0, x1, y1 = self.box
            return (columns > x0) & (columns < x1) & (rows > y0) & (rows < y1)
        radius = 2.0 * outline_width(height, width)
        region = np.zeros((height, width), dtype=bool)
        for x, y in self.points[self.point_labels == 1]:
            region |= (columns - x) ** 2 + (rows - y) ** 2 <= radius**2
        return region


def parse_prompts(
    points: Any, boxes: Any, masks: Any, size: tuple[int, int], name: str = "picture"
) -> list[ObjectPrompt]:
    """Checks the prompts of one visual and joins them object by object.

    Args:
        points: `(k, 2)` for one object, `(O, k, 2)` or a list of `O` arrays `(k, 2)`. A third column is the label: 1
            on the object (the default), 0 beside it.
        boxes: `(4,)` or `(O, 4)`.
        masks: `(H, W)` or `(O, H, W)`; non-zero is the object.
        size: height and width of the picture.
        name: named in errors.

    Returns:
        `O` prompts; empty when nothing is given. Where several kinds are given, entry i of each marks object i.

    Raises:
        ValueError: wrong shapes, values that are no finite numbers, coordinates outside the picture, empty boxes or
            masks, kinds with different `O`, or more than `MAX_CLICKS` or `MAX_OBJECTS`.
    """
    parsed = {
        "points": _parse_points(points, size, name),
        "boxes": _parse_boxes(boxes, size, name),
        "masks": _parse_masks(masks, size, name),
    }
    counts = {kind: len(entries) for kind, entries in parsed.items() if entries is not None}
    if not counts:
        return []
    if len(set(counts.values())) > 1:
        raise ValueError(f"{name}: the prompts mark different numbers of objects: {counts}")
    if max(counts.values()) > MAX_OBJECTS:
        raise ValueError(f"{name}: the prompts mark {max(counts.values())} objects, more than {MAX_OBJECTS}")
    prompts = [ObjectPrompt() for _ in range(max(counts.values()))]
    for index, prompt in enumerate(prompts):
        if parsed["points"] is not None:
            prompt.points, prompt.point_labels = parsed["points"][index]
        if parsed["boxes"] is not None:
            prompt.box = parsed["boxes"][index]
        if parsed["masks"] is not None:
            prompt.mask = parsed["masks"][index]
    return prompts


def _parse_points(points: Any, size: tuple[int, int], name: str) -> list[tuple[np.ndarray, np.ndarray]] | None:
    if points is None:
        return None
    height, width = size
    entries = _numbers(points, f"{name}: points")
    if entries is None and isinstance(points, (list, tuple)):
        objects = [_numbers(one, f"{name}: points") for one in points]
    else:
        objects = [entries] if entries is None or entries.ndim != 3 else list(entries)
    parsed = []
    for index, array in enumerate(objects):
        if array is None or array.ndim != 2 or array.shape[1] not in (2, 3) or not len(array):
            raise ValueError(f"{name}: points of object {index} must be (k, 2) or (k, 3) numbers, got {points!r:.200}")
        if len(array) > MAX_CLICKS:
            raise ValueError(f"{name}: object {index} has {len(array)} points, more than {MAX_CLICKS}; use a mask")
        labels = array[:, 2].astype(np.int64) if array.shape[1] == 3 else np.ones(len(array), dtype=np.int64)
        if array.shape[1] == 3 and not np.isin(array[:, 2], (0, 1)).all():
            raise ValueError(f"{name}: point labels must be 1 (on the object) or 0 (beside it), got {array[:, 2]}")
        for x, y in array[:, :2]:
            if not (0 <= x <= width and 0 <= y <= height):
                raise ValueError(f"{name}: point ({x:g}, {y:g}) lies outside the picture of {width} x {height} pixels")
        parsed.append((array[:, :2], labels))
    return parsed


def _parse_boxes(boxes: Any, size: tuple[int, int], name: str) -> list[np.ndarray] | None:
    if boxes is None:
        return None
    height, width = size
    array = _numbers(boxes, f"{name}: boxes")
    if array is None or array.ndim not in (1, 2) or array.shape[-1] != 4 or not array.size:
        raise ValueError(f"{name}: boxes must be (4,) or (O, 4) numbers x0, y0, x1, y1, got {boxes!r:.200}")
    for x0, y0, x1, y1 in array.reshape(-1, 4):
        text = f"box ({x0:g}, {y0:g}, {x1:g}, {y1:g})"
        if not (x0 < x1 and y0 < y1):
            raise ValueError(f"{name}: {text} is empty; boxes are x0, y0, x1, y1 with x0 < x1 and y0 < y1")
        if x0 < 0 or y0 < 0 or x1 > width or y1 > height:
            raise ValueError(f"{name}: {text} reaches outside the picture of {width} x {height} pixels")
    return list(array.reshape(-1, 4))


def _parse_masks(masks: Any, size: tuple[int, int], name: str) -> list[np.ndarray] | None:
    if masks is None:
        return None
    entries = masks if isinstance(masks, (list, tuple)) else [masks]
    arrays = [_plain(entry) for entry in entries]
    flat = [layer for array in arrays for layer in (array if array.ndim == 3 else [array])]
    if not flat:
        raise ValueError(f"{name}: masks holds no mask; leave it out")
    for index, layer in enumerate(flat):
        if layer.shape != tuple(size):
            raise ValueError(
                f"{name}: mask {index} has shape {layer.shape}, the picture is {size[0]} x {size[1]} (H, W)"
            )
        if layer.dtype.kind not in "biuf" or not np.isfinite(layer).all():
            raise ValueError(f"{name}: mask {index} holds values that are no finite numbers ({layer.dtype})")
        if not layer.any():
            raise ValueError(f"{name}: mask {index} has no pixel")
    return [layer != 0 for layer in flat]


def _plain(values: Any) -> np.ndarray:
    """An array of whatever was given; of a tensor its values, without history and in a type numpy has."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        values = values.float() if values.is_floating_point() else values
    return np.asarray(values)


def _numbers(values: Any, name: str) -> np.ndarray | None:
    """Float64 array of nested numbers; `None` when they are ragged, or no numbers."""
    try:
        array = _plain(values)
    except (TypeError, ValueError):
        return None
    if array.dtype.kind not in "iuf":
        return None
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite numbers, got {values!r:.200}")
    return array.astype(np.float64)


def sam_prompts(
    prompts: Sequence[ObjectPrompt], sizes: Sequence[tuple[int, int]], image_size: int, mask_size: int
) -> dict[str, torch.Tensor]:
    """Prompts in the pixels of SAM-2's square input.

    Args:
        prompts: `O` prompts of any visuals.
        sizes: height and width of the source picture of each.
        image_size: side `S` of SAM-2's input.
        mask_size: side of its low-resolution masks.

    Returns:
        `prompt_points` float `(O, k, 2)` and `prompt_point_labels` long `(O, k)` (-1 fills shorter lists: SAM-2's "not
        a point"), `prompt_boxes` float `(O, 4)` (0 where none), `prompt_masks` float `(O, h, w)` logits in [-10, 10]
        (0 where none) and `prompt_given` bool `(O, 3)`: whether object o has points, a box, a mask.
    """
    count = len(prompts)
    longest = max([1, *(len(prompt.points) for prompt in prompts if prompt.points is not None)])
    points = torch.zeros(count, longest, 2)
    labels = torch.full((count, longest), -1, dtype=torch.long)
    boxes = torch.zeros(count, 4)
    masks = torch.zeros(count, mask_size, mask_size)
    given = torch.zeros(count, 3, dtype=torch.bool)
    for index, (prompt, (height, width)) in enumerate(zip(prompts, sizes, strict=True)):
        scale = torch.tensor([image_size / width, image_size / height])
        if prompt.points is not None:
            points[index, : len(prompt.points)] = torch.from_numpy(prompt.points).float() * scale
            labels[index, : len(prompt.points)] = torch.from_numpy(prompt.point_labels)
        if prompt.box is not None:
            boxes[index] = torch.from_numpy(prompt.box).float() * scale.repeat(2)
        if prompt.mask is not None:
            coverage = F.interpolate(
                torch.from_numpy(prompt.mask)[None, None].float(),
                (mask_size, mask_size),
                mode="bilinear",
                antialias=True,
            )
            masks[index] = coverage[0, 0] * 20 - 10
        given[index] = torch.tensor([prompt.points is not None, prompt.box is not None, prompt.mask is not None])
    return {
        "prompt_points": points,
        "prompt_point_labels": labels,
        "prompt_boxes": boxes,
        "prompt_masks": masks,
        "prompt_given": given,
    }


__all__ = ["REGION_COLOURS", "ObjectPrompt", "draw_regions", "outline_width", "parse_prompts", "sam_prompts"]
