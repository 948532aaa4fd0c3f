"""What a describer is shown: the frame with most of an object, the object alone, its crop, its outline in yellow.

Masks and frames enter, pictures leave. (Sa2VA, section 3.3, stages 1 and 3; it names neither the colour of what is
blanked nor the margin of a crop.)
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import binary_dilation, binary_erosion

from desa2va.processing.files import Code, mask_area

NUM_FRAMES = 8
BLANK = 128  # neither white nor black objects vanish in it
YELLOW = (255, 255, 0)
MARGIN = 0.2  # of a box's side, on each side of it
MIN_CROP = 64  # pixels; vision towers refuse or blur what is much smaller


def largest_frame(codes: tuple[Code | None, ...]) -> int:
    """The first of the frames that show most of the object."""
    areas = [0 if code is None else mask_area(code) for code in codes]
    return areas.index(max(areas))


def spread_frames(codes: tuple[Code | None, ...], count: int = NUM_FRAMES) -> list[int]:
    """At most `count` frames, uniformly from the first to the last one that shows the object.

    Sa2VA spreads them over the whole video, which may miss an object that is there for a moment.
    """
    shown = [frame for frame, code in enumerate(codes) if code is not None and mask_area(code)]
    return sorted({int(frame) for frame in np.linspace(shown[0], shown[-1], count).round()})


def blanked(frame: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The frame with everything but the object in grey; uint8 `(H, W, 3)`, bool `(H, W)`."""
    return np.where(mask[..., None], frame, np.uint8(BLANK))


def crop_slices(mask: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of the object with a margin, at least `MIN_CROP` pixels each way where the frame has them."""
    return tuple(_around(np.flatnonzero(mask.any(axis=1 - axis)), mask.shape[axis]) for axis in (0, 1))


def _around(places: np.ndarray, side: int) -> slice:
    first, last = int(places[0]), int(places[-1]) + 1
    wanted = min(side, max(MIN_CROP, round((last - first) * (1 + 2 * MARGIN))))
    start = min(max(0, (first + last - wanted) // 2), side - wanted)
    return slice(start, start + wanted)


def outlined(frame: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A copy with a yellow border around the object, outside of it; uint8 `(H, W, 3)`, bool `(H, W)`.

    An object that fills the frame has its border inside.
    """
    width = max(2, round(min(mask.shape) / 150))
    border = binary_dilation(mask, iterations=width) & ~mask
    if not border.any():
        border = mask & ~binary_erosion(mask, iterations=width)
    picture = frame.copy()
    picture[border] = YELLOW
    return picture


__all__ = ["NUM_FRAMES", "blanked", "crop_slices", "largest_frame", "outlined", "spread_frames"]
