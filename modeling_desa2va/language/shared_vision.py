"""One pass of Qwen-VL's vision tower for every image of a batch, however many sequences show it (paper section 3.1).

Enters: the pixels and grids of the images of a batch, and the image behind each placeholder run. Leaves: the language
model's own `forward` and `generate`, which count images by placeholder runs, fed from a vision tower that counts
unique images. Qwen-VL's input embeddings alone are not enough: Qwen3-VL adds features of early tower layers
(deepstack) inside the language model, and positions follow from ids and grids. So the tower is changed, not its use.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import nn

from desa2va.modeling_desa2va.remembered import open_cache

from .hooks import hook_once


@dataclass(frozen=True)
class _Shared:
    """What one call shows: the `tower` it uses, `grids` (images, 3) of the unique images, `places` (T,) of the tokens
    that are shown, see `_token_places`.
    """

    tower: nn.Module
    grids: torch.Tensor
    places: torch.Tensor


# A context variable, since several threads may use one tower: the hooks are shared, the images are not.
_SHARED: ContextVar[_Shared | None] = ContextVar("desa2va_shared_images", default=None)


@contextmanager
def shared_images(
    mllm: nn.Module, image_grid_thw: torch.Tensor | None, image_index: torch.Tensor | None
) -> Iterator[None]:
    """Inside, and in this thread alone, the vision tower takes each image once and returns its tokens once per
    placeholder run.

    The tower gets the pixel rows of the unique images and, from the language model, the grids of the runs, which are
    replaced by those of the images. Without grids (InternVL) or an index (every run has its own pixels) nothing
    changes.

    Args:
        mllm: a Qwen2.5-VL or Qwen3-VL language model. image_grid_thw: long (images, 3), patches of each image.
        image_index: long (M,), values in [0, images): the image shown by each placeholder run, in reading order.
    """
    shared = None
    if image_grid_thw is not None and image_index is not None:
        tower = mllm.model.visual
        if open_cache() is not None:
            _let_remember(tower)
        hook_once(tower, _unique_grids, "forward_pre", with_kwargs=True)
        hook_once(tower, _repeat_tokens, "forward")
        shared = _Shared(tower, image_grid_thw, _token_places(image_grid_thw, image_index, tower.spatial_merge_size))
    token = _SHARED.set(shared)
    try:
        yield
    finally:
        _SHARED.reset(token)


class _RememberingTower(nn.Module):
    """In front of a tower's own class: images that the open cache knows are not encoded again."""

    def forward(self, hidden_states: torch.Tensor, grid_thw: torch.Tensor, **options: Any) -> Any:
        """Pixel rows (patches, ...) of all images and their grids (images, 3) -> the tower's own output."""
        known = open_cache()
        if known is None or any(isinstance(value, torch.Tensor) for value in options.values()):
            return super().forward(hidden_states, grid_thw=grid_thw, **options)
        grids = grid_thw.tolist()
        images = hidden_states.split([t * h * w for t, h, w in grids])

        def make(places: list[int]) -> list[list[torch.Tensor]]:
            rows = torch.cat([images[place] for place in places])
            made = super(_RememberingTower, self).forward(rows, grid_thw=grid_thw[places], **options)
            self.output_type = type(made)
            counts = [len(images[place]) // self.spatial_merge_size**2 for place in places]
            levels = [made.pooler_output, *(getattr(made, "deepstack_features", None) or [])]
            return [list(parts) for parts in zip(*(level.split(counts) for level in levels), strict=True)]

        parts = known.encode([f"language {grid}" for grid in grids], images, make)
        pooled, *deep = (torch.cat(level) for level in zip(*parts, strict=True))
        return self.output_type(pooler_output=pooled, **({"deepstack_features": deep} if deep else {}))


@cache
def _remembering(tower_class: type[nn.Module]) -> type[nn.Module]:
    return type(tower_class.__name__, (_RememberingTower, tower_class), {"__module__": tower_class.__module__})


def _let_remember(tower: nn.Module) -> None:
    if not isinstance(tower, _RememberingTower):
        tower.__class__ = _remembering(type(tower))


def _shared_by(tower: nn.Module) -> _Shared | None:
    shared = _SHARED.get()
    return shared if shared is not None and shared.tower is tower else None


def _unique_grids(
    tower: nn.Module, args: tuple[Any, ...], options: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    shared = _shared_by(tower)
    return None if shared is None else (args, {**options, "grid_thw": shared.grids})


def _repeat_tokens(tower: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
    shared = _shared_by(tower)
    if shared is None:
        return None
    output.pooler_output = _take(output.pooler_output, shared.places)
    if getattr(output, "deepstack_features", None) is not None:
        output.deepstack_features = [_take(level, shared.places) for level in output.deepstack_features]
    return output


def _token_places(image_grid_thw: torch.Tensor, image_index: torch.Tensor, merge_size: int) -> torch.Tensor:
    """Rows of the tower's output (tokens of unique images) in the order in which the runs show them, long (T,)."""
    counts = (image_grid_thw.prod(dim=-1) // merge_size**2).tolist()
    places = torch.arange(sum(counts)).split(counts)
    return torch.cat([places[image] for image in image_index.tolist()])


def _take(tokens: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """(unique tokens, D) -> (T, D)."""
    return tokens[places.to(tokens.device)]


__all__ = ["shared_images"]
