"""SAM-2 and SAM 2.1 as published: folders of the Hub and their authors' `.pt` files, all four sizes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn
from transformers import Sam2VideoModel

from .checkpoint import read_json_object, weight_files
from .loading import Part, arrange, load_complete
from .names import Place, sam_places
from .sam2_config import read_sam2_config, recognise_hiera, sam2_config, stated_sizes
from .tensors import LazyTensor, module_tensors, open_tensors, torch_file_tensors

Source = str | os.PathLike | nn.Module
_TORCH_SUFFIXES = (".pt", ".pth")
# One matrix under two names; folders hold one of them or both.
_FREQUENCIES = (
    "prompt_encoder.shared_embedding.positional_embedding",
    "shared_image_embedding.positional_embedding",
)


@contextmanager
def open_sam2(source: Source) -> Iterator[Part]:
    """SAM-2 as a `Part`, its tensors to be read inside the context.

    Args:
        source: a folder with `config.json` (model type `sam2_video` or `sam2`) and safetensors, an original `.pt`
            file, a folder that holds exactly one, or a loaded `Sam2VideoModel`.

    Raises:
        ValueError: something else, or of none of the four sizes. FileNotFoundError: nothing is there.
    """
    if isinstance(source, nn.Module):
        if not isinstance(source, Sam2VideoModel):
            raise ValueError(f"sam2 must be a Sam2VideoModel, which has a memory, got a {type(source).__name__}")
        yield Part(source.config, _native(module_tensors(source)), f"the loaded {type(source).__name__}")
        return
    path = Path(source)
    if path.is_dir() and not (path / "config.json").is_file():
        path = _only_torch_file(path)
    if path.is_dir():
        stated = read_json_object(path / "config.json")
        with open_tensors(weight_files(path)) as tensors:
            yield Part(read_sam2_config(stated, tensors, path / "config.json"), _native(tensors), path)
        return
    if not path.is_file():
        raise FileNotFoundError(f"there is no SAM-2 in {path}; give a folder, an original .pt file or a Hub id")
    if path.suffix not in _TORCH_SUFFIXES:
        raise ValueError(f"{path} is no SAM-2: a file must be an original {' or '.join(_TORCH_SUFFIXES)}")
    tensors = torch_file_tensors(path)
    shapes = {name: stored.shape for name, stored in tensors.items()}
    try:
        config = sam2_config(
            stated_sizes(recognise_hiera(shapes)), "2.1" if "no_obj_embed_spatial" in shapes else "2.0"
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    yield Part(config, arrange(tensors, sam_places), path)


def _only_torch_file(folder: Path) -> Path:
    found = [path for path in folder.iterdir() if path.suffix in _TORCH_SUFFIXES]
    if len(found) != 1:
        raise FileNotFoundError(f"{folder} holds no config.json and {len(found)} .pt files; give one of them by name")
    return found[0]


def _native(tensors: Any) -> dict[str, LazyTensor]:
    """Tensors that have the names of transformers already."""
    state = arrange(tensors, lambda name: [Place(name)])
    for name, other in (_FREQUENCIES, _FREQUENCIES[::-1]):
        if name in state:
            state.setdefault(other, state[name])
    return state


def load_sam2(source: Source, **options: Any) -> Sam2VideoModel:
    """SAM-2 alone.

    Args:
        source: see `open_sam2`. options: of `Sam2VideoModel.from_pretrained`.

    Returns:
        The model in evaluation mode, in the stored dtype unless `dtype` says another.

    Raises:
        ValueError: see `open_sam2` and `load_complete`. FileNotFoundError: nothing is there.
    """
    with open_sam2(source) as part:
        return load_complete(Sam2VideoModel, part.where, part.config, part.state, **options)


__all__ = ["Source", "load_sam2", "open_sam2"]
