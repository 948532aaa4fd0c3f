"""A queue of recent features (paper section 3.2, the product of marginals of Eq. 6).

What enters: the decoupled features of a step, detached. What leaves: up to `size` recent rows of each modality. One
device sees only a few objects per step, too few to stand for a marginal distribution; the queue gathers them over
steps and processes. Its content belongs to the state dict, so a resumed training continues with the same negatives.
"""

import torch
import torch.distributed as dist
from torch import Tensor

from .host_numbers import HostNumbers


@torch.no_grad()
def gather_rows(rows: Tensor) -> Tensor:
    """Concatenates the rows of all processes in the order of their ranks; their numbers may differ.

    A collective call: every process must make it, also one without rows.

    Args:
        rows: `(n, C)`, n of its own on every process.

    Returns:
        `(sum of n, C)` without gradient.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return rows.detach()
    count = torch.tensor([len(rows)], device=rows.device)
    counts = [torch.zeros_like(count) for _ in range(dist.get_world_size())]
    dist.all_gather(counts, count)
    sizes = [int(n) for n in torch.cat(counts).tolist()]
    padded = rows.new_zeros((max(sizes), *rows.shape[1:]))
    parts = [torch.empty_like(padded) for _ in sizes]
    if padded.numel():
        padded[: len(rows)] = rows
        dist.all_gather(parts, padded)
    return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])


class FeatureQueue(HostNumbers):
    """Ring buffer of the most recent pairs of text and visual features.

    Args:
        size: pairs to keep; 0 keeps none.
        dim: width C of the features.
    """

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        if size < 0 or dim < 1:
            raise ValueError(f"a feature queue needs size >= 0 and dim >= 1, got {size} and {dim}")
        self.size = size
        self.register_buffer("rows", torch.zeros(size, 2, dim))
        self.register_buffer("filled", torch.zeros((), dtype=torch.long))
        self.register_buffer("position", torch.zeros((), dtype=torch.long))

    def __len__(self) -> int:
        return self.known("filled")

    @torch.no_grad()
    def push(self, text: Tensor, visual: Tensor) -> tuple[Tensor, Tensor]:
        """Adds the pairs of all processes; the oldest give way. A collective call (see `gather_rows`).

        Args:
            text: `(O, C)` of this process; O may be 0.
            visual: `(O, C)`.

        Returns:
            The new text and visual features of all processes, without gradient.

        Raises:
            ValueError: where the two do not have the same shape or the width is not the queue's.
        """
        return self.add(*gather_rows(torch.stack(self._checked(text, visual), dim=1)).unbind(dim=1))

    @torch.no_grad()
    def add(self, text: Tensor, visual: Tensor) -> tuple[Tensor, Tensor]:
        """Adds pairs that were gathered already, the same on every process. Arguments and result as of `push`."""
        new = torch.stack(self._checked(text, visual), dim=1)
        kept = new[-self.size :] if self.size else new[:0]
        if len(kept):
            self._write(kept)
        return new[:, 0], new[:, 1]

    def _checked(self, text: Tensor, visual: Tensor) -> tuple[Tensor, Tensor]:
        if text.shape != visual.shape or text.ndim != 2 or text.shape[1] != self.rows.shape[2]:
            raise ValueError(
                f"the queue takes text and visual features (O, {self.rows.shape[2]}), "
                f"got {tuple(text.shape)} and {tuple(visual.shape)}"
            )
        return text.detach().to(self.rows), visual.detach().to(self.rows)

    def _write(self, new: Tensor) -> None:
        position = self.known("position")
        slots = (position + torch.arange(len(new), device=self.rows.device)) % self.size
        self.rows[slots] = new
        self.tell("position", (position + len(new)) % self.size)
        self.tell("filled", min(len(self) + len(new), self.size))

    def negatives(self, newest: int | None = None) -> tuple[Tensor, Tensor] | None:
        """Copies of the kept text and visual features `(Q, C)` each, oldest first, or `None` while there are none.

        Args:
            newest: takes only this many, the most recent.
        """
        if len(self) == 0:
            return None
        kept = self.rows[: len(self)].roll(-self.known("position") if len(self) == self.size else 0, 0)
        kept = kept if newest is None else kept[-newest:]
        return kept[:, 0], kept[:, 1]


__all__ = ["FeatureQueue", "gather_rows"]
