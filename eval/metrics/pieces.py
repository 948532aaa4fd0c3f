"""Do masks hang together? The share of masks with more than one connected region, predicted and true side by side.

Masks enter, two shares leave. Specks of a neighbour hardly move an IoU and are the first thing that the eye sees; an
object that something covers is in pieces in truth too, hence the second share. (Engineering; no paper section.)
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .uncertainty import mean_with_error


def in_pieces(mask: np.ndarray) -> bool:
    """Whether a mask, bool `(H, W)`, has more than one region; pixels hang together over corners too."""
    from scipy import ndimage

    return ndimage.label(mask, structure=np.ones((3, 3)))[1] > 1


class Pieces:
    """Collects masks; those without a pixel do not count, and a clip counts frame by frame."""

    def __init__(self) -> None:
        self._found: dict[str, list[bool]] = {"predicted": [], "true": []}

    def add(self, predicted: Iterable[np.ndarray], true: Iterable[np.ndarray]) -> None:
        """Add the masks of one answer, bool `(H, W)` or `(T, H, W)` each."""
        for name, masks in (("predicted", predicted), ("true", true)):
            frames = [frame for mask in masks for frame in mask.reshape(-1, *mask.shape[-2:])]
            self._found[name] += [in_pieces(frame) for frame in frames if frame.any()]

    def report(self) -> dict[str, float | int | None]:
        """`predicted`, `true`: shares in [0, 1], `None` without a mask; `n_predicted`, `n_true`: masks they are of."""
        shares = {name: mean_with_error(rows)[0] if rows else None for name, rows in self._found.items()}
        return {**shares, **{f"n_{name}": len(rows) for name, rows in self._found.items()}}


__all__ = ["Pieces", "in_pieces"]
