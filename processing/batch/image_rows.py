"""Frames to the pixel rows of the language model and of SAM-2, many frames in one call.

In: RGB frames `(H, W, 3)` uint8. Out: `pixel_values` in the layout of the language model (InternVL tiles, or Qwen
patches with their grids), the number of placeholder tokens of each frame, and SAM-2's `(F, 3, S, S)`.
Paper section 3.1 (the picture goes to the language model and to SAM-2). Resizing and normalisation are those of the
stock image processors; this module only groups frames so that equal ones share a call.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import Sam2ImageProcessor
from transformers.image_utils import SizeDict

from .sa2va_pixels import device_normalised, first_resize, follows_sa2va, normalised, resize, tiles


@dataclass
class ImageRows:
    """Pixels of several images for the language model.

    Attributes:
        pixel_values: float32; InternVL `(sum of num_tiles, 3, h, w)`, Qwen `(sum of patches, patch_dim)`.
        rows_per_image: rows of `pixel_values` that belong to each image.
        tokens_per_image: placeholder tokens of each image.
        grid_thw: Qwen only, long `(images, 3)`.
    """

    pixel_values: torch.Tensor
    rows_per_image: list[int]
    tokens_per_image: list[int]
    grid_thw: torch.Tensor | None = None


def _as_tensors(frames: list[np.ndarray]) -> list[torch.Tensor]:
    """Channels-first views of HWC uint8 frames."""
    return [torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1) for frame in frames]


def _preprocess(image_processor: Any, frames: list[np.ndarray] | list[torch.Tensor], **options: Any) -> Any:
    """One call of a stock image processor; frames of equal size are stacked inside it.

    Args:
        image_processor: the stock one. frames: `(H, W, 3)` arrays or `(3, H, W)` tensors. options: of the call.
    """
    return image_processor(
        images=[frame if isinstance(frame, torch.Tensor) else _as_tensors([frame])[0] for frame in frames],
        return_tensors="pt",
        input_data_format="channels_first",
        disable_grouping=False,
        **options,
    )


def internvl_rows(
    image_processor: Any, frames: list[np.ndarray], max_tiles: list[int], tokens_per_tile: int
) -> ImageRows:
    """Tiles of InternVL.

    Args:
        image_processor: a `GotOcr2ImageProcessor`.
        frames: uint8 `(H, W, 3)`.
        max_tiles: for each frame the most tiles it is cut into; 1 keeps it whole.
        tokens_per_tile: placeholder tokens of a tile.

    Returns:
        `ImageRows`; a frame cut into n > 1 tiles also holds its thumbnail, n + 1 rows.
    """
    if follows_sa2va(image_processor):
        return _sa2va_rows(image_processor, frames, max_tiles, tokens_per_tile)
    rows: list[torch.Tensor] = [torch.empty(0)] * len(frames)
    for limit in sorted(set(max_tiles)):
        indices = [index for index, tiles in enumerate(max_tiles) if tiles == limit]
        options = {"crop_to_patches": True, "max_patches": limit} if limit > 1 else {"crop_to_patches": False}
        output = _preprocess(image_processor, [frames[index] for index in indices], **options)
        if limit == 1 and len(indices) == len(frames):
            count = len(frames)
            return ImageRows(output["pixel_values"], [1] * count, [tokens_per_tile] * count)
        counts = [int(count) for count in output["num_patches"]]
        for index, part in zip(indices, output["pixel_values"].split(counts), strict=True):
            rows[index] = part
    counts = [len(part) for part in rows]
    return ImageRows(torch.cat(rows), counts, [tokens_per_tile * count for count in counts])


def _sa2va_rows(
    image_processor: Any, frames: list[np.ndarray], max_tiles: list[int], tokens_per_tile: int
) -> ImageRows:
    """The same by Sa2VA's rules."""
    side = image_processor.size["height"]
    cut = [tiles(frame, limit, side) for frame, limit in zip(frames, max_tiles, strict=True)]
    counts = [len(part) for part in cut]
    pixels = torch.cat([normalised(part, image_processor) for part in cut])
    return ImageRows(pixels, counts, [tokens_per_tile * count for count in counts])


def qwen_rows(image_processor: Any, frames: list[np.ndarray]) -> ImageRows:
    """Patches of Qwen-VL: `ImageRows` with `grid_thw`; one token per `merge_size ** 2` patches."""
    if follows_sa2va(image_processor):
        frames = [first_resize(frame) for frame in frames]
    output = _preprocess(image_processor, frames)
    grid = output["image_grid_thw"]
    patches = [int(count) for count in grid.prod(dim=1)]
    merge = image_processor.merge_size**2
    return ImageRows(output["pixel_values"], patches, [count // merge for count in patches], grid)


def sam_pixels(image_processor: Any, frames: list[np.ndarray]) -> torch.Tensor:
    """SAM-2 pixels `(F, 3, S, S)` float32: resized to the square without keeping the aspect ratio, normalised."""
    if follows_sa2va(image_processor):
        side = image_processor.size["height"]
        return normalised(np.stack([resize(frame, side, side) for frame in frames]), image_processor)
    if not (isinstance(image_processor, Sam2ImageProcessor) and image_processor.do_resize):
        return _preprocess(image_processor, frames)["pixel_values"]
    # Resized before the stock processor lays out channel after channel what it gets: of whole frames that is most of
    # its time, and the pixels are the same.
    size, resample = SizeDict(**dict(image_processor.size)), image_processor.resample
    small = [image_processor.resize(frame[None], size, resample=resample)[0] for frame in _as_tensors(frames)]
    return _preprocess(image_processor, small, do_resize=False)["pixel_values"]


@torch.no_grad()
def device_sam_pixels(image_processor: Any, frames: list[torch.Tensor]) -> torch.Tensor:
    """`sam_pixels` of frames uint8 `(H, W, 3)` on any device, made there."""
    shown = [frame.permute(2, 0, 1) for frame in frames]
    if follows_sa2va(image_processor):
        return torch.cat([device_normalised(frame[None], image_processor) for frame in shown])
    options = {"return_tensors": "pt", "input_data_format": "channels_first", "disable_grouping": False}
    return image_processor(images=shown, **options)["pixel_values"]


__all__ = ["ImageRows", "device_sam_pixels", "internvl_rows", "qwen_rows", "sam_pixels"]
