"""The places of grids, those of a window beside each other (METHOD section 2).

Enters: grids (B, H, W, C). Leaves: rows (B*H*W, C) in the order of windows, the shapes of these windows, and the way
back.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch


class Windows(NamedTuple):
    """`count` windows of `rows` x `columns` places each, to which padding would add `missing`."""

    count: int
    rows: int
    columns: int
    missing: int

    @property
    def places(self) -> int:
        """Of all windows."""
        return self.count * self.rows * self.columns


@dataclass(frozen=True)
class WindowOrder:
    """The places of `batch` grids of `height` x `width`, those of a window of side `window` beside each other.

    All whole windows come first, then those cut by the right edge, by the lower edge, and by both.
    """

    batch: int
    height: int
    width: int
    window: int

    def _parts(self) -> Iterator[tuple[slice, slice, Windows]]:
        """Rows and columns of the grid that windows of one shape cover, and these windows."""
        for rows, down, high in _bands(self.height, self.window):
            for columns, across, wide in _bands(self.width, self.window):
                missing = self.window**2 - high * wide
                yield rows, columns, Windows(self.batch * down * across, high, wide, missing)

    def _split(self, grid: torch.Tensor) -> Iterator[torch.Tensor]:
        """Views (B, down, across, rows, columns, C) of (B, H, W, C), a view for the windows of each shape."""
        for rows, columns, windows in self._parts():
            part = grid[:, rows, columns].unflatten(2, (-1, windows.columns)).unflatten(1, (-1, windows.rows))
            yield part.transpose(2, 3)

    def into(self, grid: torch.Tensor) -> torch.Tensor:
        """(B, H, W, C) to (B*H*W, C)."""
        parts = [part.reshape(-1, grid.shape[-1]) for part in self._split(grid)]
        return joined(parts)

    def out_of(self, places: torch.Tensor) -> torch.Tensor:
        """(B*H*W, C) to (B, H, W, C), in memory of its own."""
        grid = places.new_empty(self.batch, self.height, self.width, places.shape[-1])
        parts = list(self._split(grid))
        sizes = [math.prod(part.shape[:-1]) for part in parts]
        for part, own in zip(parts, places.split(sizes), strict=True):
            part.copy_(own.view(part.shape))
        return grid

    def images(self, places: torch.Tensor) -> torch.Tensor:
        """(B*H*W, C) to (B, H*W, C), each image's places together."""
        sizes = [windows.places for _, _, windows in self._parts()]
        parts = [part.unflatten(0, (self.batch, -1)) for part in places.split(sizes)]
        return joined(parts, dim=1)

    def from_images(self, images: torch.Tensor) -> torch.Tensor:
        """The way back from `images`."""
        sizes = [windows.places // self.batch for _, _, windows in self._parts()]
        parts = [part.flatten(0, 1) for part in images.split(sizes, dim=1)]
        return joined(parts)

    def pieces(self, at_once: int) -> list[list[Windows]]:
        """All windows in their order, in pieces of at most `at_once` places, or of one window."""
        pieces, room = [[]], at_once
        for _, _, windows in self._parts():
            size, left = windows.rows * windows.columns, windows.count
            while left:
                taken = min(left, max(room // size, 0))
                if not taken and pieces[-1]:
                    pieces, room = [*pieces, []], at_once
                    continue
                taken = max(taken, 1)
                pieces[-1].append(windows._replace(count=taken))
                left, room = left - taken, room - taken * size
        return pieces

    def pooled(self) -> WindowOrder:
        """The order after pooling two by two."""
        return replace(self, height=self.height // 2, width=self.width // 2, window=self.window // 2)


def _bands(length: int, window: int) -> Iterator[tuple[slice, int, int]]:
    """Slice, number and size of the whole windows along a side, then of the one that is cut."""
    whole, rest = divmod(length, window)
    if whole:
        yield slice(0, whole * window), whole, window
    if rest:
        yield slice(whole * window, length), 1, rest


def joined(parts: list[torch.Tensor], dim: int = 0) -> torch.Tensor:
    """Tensors in one, which is the only one itself where there is one."""
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim)


__all__ = ["WindowOrder", "Windows", "joined"]
