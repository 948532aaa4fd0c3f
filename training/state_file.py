"""State dicts as safetensors: nothing is unpickled to read what a training has kept.

Enters: dicts, lists and tuples of tensors and plain values, as modules and optimizers give them. Leaves: one file with
the tensors, named by their place, and everything else as JSON in its header; the same state again.
"""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

_STATE = "state"
_PLAIN = (str, int, float, bool, type(None))


def write_state(state: Any, path: str | os.PathLike) -> None:
    """Writes a state dict; tensors that share all their memory are stored once.

    Raises:
        TypeError: it holds something else than tensors, plain values, and dicts, lists and tuples of them.
    """
    tensors: dict[str, torch.Tensor] = {}
    shape = _folded(state, (), tensors, {})
    save_file(tensors, path, metadata={_STATE: json.dumps(shape)})


def read_state(path: str | os.PathLike) -> Any:
    """The state dict in a file that `find_state` found, on the CPU.

    Raises:
        ValueError: the file is no state that was written whole, or a pickle of more than tensors and plain values.
    """
    path = Path(path)
    if path.suffix == ".pt":
        with nothing_run(path):
            return torch.load(path, map_location="cpu", weights_only=True)
    try:
        with safe_open(path, framework="pt") as file:
            shape = json.loads((file.metadata() or {})[_STATE])
            return _unfolded(shape, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118 (no dict)
    except (SafetensorError, KeyError) as error:
        raise ValueError(f"{path} is no whole file of a training's state ({error})") from error


def find_state(folder: str | os.PathLike, name: str) -> Path | None:
    """Where the state `name` lies in `folder`, or what older versions wrote for it, a `.pt`; `None` without either."""
    places = (Path(folder, name), Path(folder, Path(name).stem + ".pt"))
    return next((path for path in places if path.is_file()), None)


@contextmanager
def nothing_run(source: str | os.PathLike | None) -> Iterator[None]:
    """Says in one sentence why torch refuses a file; it reads tensors and plain values alone.

    Args:
        source: what is read inside the block, a file or a folder of several.
    """
    try:
        yield
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{source} is not read, since it would run code: it holds more than tensors and plain values "
            f"({str(error).splitlines()[0]})"
        ) from error


def is_whole(path: str | os.PathLike) -> bool:
    """Whether a safetensors file ends where its header says."""
    try:
        with safe_open(path, framework="pt"):
            return True
    except (SafetensorError, OSError):
        return False


def _folded(value: Any, place: tuple[str, ...], tensors: dict[str, torch.Tensor], known: dict[tuple, str]) -> Any:
    """`value` as JSON, with the names of its tensors, which go into `tensors`; `known` has those that are there."""
    if isinstance(value, torch.Tensor):
        memory = (value.device, value.data_ptr(), value.dtype, value.shape, value.stride())
        name = known.setdefault(memory, ".".join(place)) if value.numel() else ".".join(place)
        if name not in tensors:
            tensors[name] = _alone(value)
        return {"tensor": name}
    if isinstance(value, dict):
        return {"dict": [[key, _folded(part, (*place, str(key)), tensors, known)] for key, part in value.items()]}
    if isinstance(value, list | tuple):
        parts = [_folded(part, (*place, str(index)), tensors, known) for index, part in enumerate(value)]
        return {"list" if isinstance(value, list) else "tuple": parts}
    if not isinstance(value, _PLAIN):
        raise TypeError(f"{'.'.join(place)} of a state is a {type(value).__name__}: tensors and plain values are kept")
    return value


def _alone(value: torch.Tensor) -> torch.Tensor:
    """The tensor on the CPU, in memory that holds nothing else, as safetensors wants it."""
    value = value.detach().cpu().contiguous()
    return value if value.untyped_storage().nbytes() == value.nbytes else value.clone()


def _unfolded(shape: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if not isinstance(shape, dict):
        return shape
    ((kind, content),) = shape.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _unfolded(part, tensors) for key, part in content}
    parts = [_unfolded(part, tensors) for part in content]
    return parts if kind == "list" else tuple(parts)


__all__ = ["find_state", "is_whole", "nothing_run", "read_state", "write_state"]
