"""One pass of Qwen-VL's vision tower for every image of a batch, however many sequences show it (paper section 3.1).

Enters: the pixels and grids of the images of a batch, and the image behind each placeholder run. Leaves: the language
model's own `forward` and `generate`, which count images by placeholder runs, fed from a vision tower that counts
unique images. Qwen-VL's input embeddings alone are not enough: Qwen3-VL adds features of early tower layers
(deepstack) inside the language model, and positions follow from ids and grids. So the tower is changed, not its use.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def shared_images(
    mllm: nn.Module, image_grid_thw: torch.Tensor | None, image_index: torch.Tensor | None
) -> Iterator[None]:
    """Inside, the vision tower takes each image once and returns its tokens once per placeholder run.

    The tower gets the pixel rows of the unique images and, from the language model, the grids of the runs, which are
    replaced by those of the images. Without grids (InternVL) or an index (every run has its own pixels) nothing
    changes.

    Args:
        mllm: a Qwen2.5-VL or Qwen3-VL language model. image_grid_thw: long (images, 3), patches of each image.
        image_index: long (M,), values in [0, images): the image shown by each placeholder run, in reading order.
    """
    if image_grid_thw is None or image_index is None:
        yield
        return
    tower = mllm.model.visual
    places = _token_places(image_grid_thw, image_index, tower.spatial_merge_size)

    def unique_grids(_: nn.Module, args: tuple[Any, ...], options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return args, {**options, "grid_thw": image_grid_thw}

    def repeat_tokens(_: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        output.pooler_output = _take(output.pooler_output, places)
        if getattr(output, "deepstack_features", None) is not None:
            output.deepstack_features = [_take(level, places) for level in output.deepstack_features]
        return output

    handles = [
        tower.register_forward_pre_hook(unique_grids, with_kwargs=True),
        tower.register_forward_hook(repeat_tokens),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _token_places(image_grid_thw: torch.Tensor, image_index: torch.Tensor, merge_size: int) -> torch.Tensor:
    """Rows of the tower's output (tokens of unique images) in the order in which the runs show them, long (T,)."""
    counts = (image_grid_thw.prod(dim=-1) // merge_size**2).tolist()
    places = torch.arange(sum(counts)).split(counts)
    return torch.cat([places[image] for image in image_index.tolist()])


def _take(tokens: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """(unique tokens, D) -> (T, D)."""
    return tokens[places.to(tokens.device)]


__all__ = ["shared_images"]
