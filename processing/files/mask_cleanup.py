"""Mask logits of one frame to final masks at source size: threshold, holes, speckles, no overlap.

In: low-resolution logits of the objects on one frame. Out: one bool mask, or COCO code, per object, as `MaskOptions`
asks for. Everything but the threshold is off by default: METHOD section 6 hands over what the model says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch

from desa2va.configuration.integers import as_integer

from .mask_codec import above, encode_mask, resize_logits

MAX_LOGIT = 1024  # what the tracker reports lies within; -1024: nothing looked there


@dataclass(frozen=True)
class MaskOptions:
    """How logits become masks. What is `None` is left to the model: its configuration and its tracking strategy.

    Attributes:
        mask_threshold: logit above which a pixel belongs to a mask.
        object_score_threshold: logit above which an object is on a frame.
        non_overlapping: a pixel that several objects of a visual claim goes to the one with the highest logit (of
            equal ones to the first), whichever request they belong to. An object without a mask claims nothing.
        max_hole_area: holes of at most so many source pixels are filled; 0 fills none. A hole is surrounded by its
            mask; what touches the border of the frame is none.
        max_speckle_area: separate pieces of at most so many source pixels are dropped; 0 drops none. The largest piece
            of a mask always stays, so a small object is never lost.
        keep_logits: keep the low-resolution logits, for soft masks and `source_logits`.
        empty_absent: an object that is not on a frame has an empty mask there. Sa2VA (strategy `"memory"`) draws it.
        two_step_resize: logits are resized to SAM-2's input size first, then to the source, as in Sa2VA (strategy
            `"memory"`); otherwise at once, which keeps more of an outline.
        target_threshold: a request whose `target_score` is below has no target, whatever its masks; 0 asks for none.

    Raises:
        ValueError: a negative area, or a threshold that is not a number.
        TypeError: an area that is no integer.
    """

    mask_threshold: float | None = None
    object_score_threshold: float | None = None
    non_overlapping: bool = False
    max_hole_area: int = 0
    max_speckle_area: int = 0
    keep_logits: bool = False
    empty_absent: bool | None = None
    two_step_resize: bool | None = None
    target_threshold: float | None = None

    def __post_init__(self) -> None:
        for name in ("mask_threshold", "object_score_threshold"):
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, str) or not abs(float(value)) <= MAX_LOGIT:
                raise ValueError(
                    f"{name}={value!r}: a logit from {-MAX_LOGIT} to {MAX_LOGIT}, or None for the model's own"
                )
            object.__setattr__(self, name, float(value))
        if self.target_threshold is not None:
            if isinstance(self.target_threshold, str) or not 0 <= float(self.target_threshold) <= 1:
                raise ValueError(
                    f"target_threshold={self.target_threshold!r}: a probability, or None for the model's own"
                )
            object.__setattr__(self, "target_threshold", float(self.target_threshold))
        for name in ("max_hole_area", "max_speckle_area"):
            area = as_integer(getattr(self, name), name)
            if area < 0:
                raise ValueError(f"{name}={area}: an area in source pixels, 0 switches it off")
            object.__setattr__(self, name, area)

    def completed(self, defaults: MaskOptions | None = None) -> MaskOptions:
        """The same with every `None` taken from `defaults`; what is open there too is SAM-2's rule."""
        known = _SAM2 if defaults is None else defaults.completed()
        gaps = [item.name for item in fields(self) if getattr(self, item.name) is None]
        return replace(self, **{name: getattr(known, name) for name in gaps})


_SAM2 = MaskOptions(0.0, 0.0, empty_absent=True, two_step_resize=False, target_threshold=0.0)


def clean_mask(mask: np.ndarray, max_hole_area: int = 0, max_speckle_area: int = 0) -> np.ndarray:
    """Fills small holes of a mask, then drops its small pieces.

    Args:
        mask: bool `(H, W)`; not changed. Its pixels hang together over corners, those of a hole over edges only.
        max_hole_area: see `MaskOptions`.
        max_speckle_area: see `MaskOptions`.

    Returns:
        bool `(H, W)`.
    """
    if not (max_hole_area or max_speckle_area):
        return mask
    rows, columns = mask.any(axis=1).nonzero()[0], mask.any(axis=0).nonzero()[0]
    if not len(rows):
        return mask
    # Holes and pieces lie within the box around the mask: nothing else has to be looked at.
    window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    cleaned = mask.copy()
    inside = cleaned[window]
    if max_hole_area:
        inside |= _small_holes(inside, max_hole_area)
    if max_speckle_area:
        inside &= ~_small_pieces(inside, max_speckle_area)
    return cleaned


def _small_holes(mask: np.ndarray, max_area: int) -> np.ndarray:
    """Bool `(H, W)`: pixels of holes of at most `max_area` pixels."""
    from scipy import ndimage

    # The ring of background around the box makes everything that is open to the outside one large region.
    regions, count = ndimage.label(np.pad(~mask, 1, constant_values=True))
    is_hole = np.bincount(regions.ravel(), minlength=count + 1) <= max_area
    is_hole[[0, regions[0, 0]]] = False
    return is_hole[regions[1:-1, 1:-1]]


def _small_pieces(mask: np.ndarray, max_area: int) -> np.ndarray:
    """Bool `(H, W)`: pixels of pieces of at most `max_area` pixels, without the largest piece."""
    from scipy import ndimage

    pieces, count = ndimage.label(mask, structure=np.ones((3, 3)))
    areas = np.bincount(pieces.ravel(), minlength=count + 1)
    areas[0] = 0
    is_small = areas <= max_area
    is_small[[0, areas.argmax()]] = False
    return is_small[pieces]


def frame_masks(
    logits: torch.Tensor, present: Sequence[bool], size: tuple[int, int], options: MaskOptions
) -> Iterator[np.ndarray]:
    """Masks of the objects of one frame, in their order.

    Args:
        logits: `(n, h, w)` of any float type and device.
        present: for each object whether it is on the frame.
        size: height and width of the source.
        options: complete; what is done to them. Each mask is cleaned on its own, then overlap is taken away: a filled
            hole yields to any other object that claims its pixels.

    Yields:
        bool `(H, W)`. Without `non_overlapping` one object at a time exists at source size.
    """
    drawn = [here or not options.empty_absent for here in present]
    if not options.non_overlapping:
        for row, here in zip(logits, drawn, strict=True):
            yield _claim(row, size, options)[1] if here else np.zeros(size, dtype=bool)
        return
    owner = np.full(size, -1, dtype=np.int32)
    strongest = np.full(size, -np.inf, dtype=np.float32)
    for number, (row, here) in enumerate(zip(logits, drawn, strict=True)):
        if here:
            values, mask = _claim(row, size, options)
            values = values.cpu().numpy()
            wins = mask & (values > strongest)
            owner[wins], strongest[wins] = number, values[wins]
    for number in range(len(logits)):
        yield owner == number


def _claim(logits: torch.Tensor, size: tuple[int, int], options: MaskOptions) -> tuple[torch.Tensor, np.ndarray]:
    """Logits float32 and cleaned mask bool of one object, both `(H, W)`."""
    values = resize_logits(logits[None], size, options.two_step_resize)[0]
    mask = above(values, options.mask_threshold)
    return values, clean_mask(mask, options.max_hole_area, options.max_speckle_area)


def frame_codes(
    logits: torch.Tensor, present: Sequence[bool], size: tuple[int, int], options: MaskOptions
) -> list[dict[str, Any]]:
    """`frame_masks` as COCO run-length codes."""
    return [encode_mask(mask) for mask in frame_masks(logits, present, size, options)]


__all__ = ["MaskOptions", "clean_mask", "frame_codes", "frame_masks"]
