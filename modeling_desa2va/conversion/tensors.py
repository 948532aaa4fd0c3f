"""Stored tensors that are read when they are asked for, cut and joined on the way.

Enters: safetensors files, `.pt` files or loaded modules, and places. Leaves: a state dictionary that
`from_pretrained(state_dict=...)` takes: each value is read, alone, when the loader puts it into the model, so that a
checkpoint is never in memory twice.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from .names import Take

_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
}  # fmt: skip
_DTYPE_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


@dataclass
class StoredTensor:
    """One tensor of an open file.

    Attributes:
        handle: the open file. name: in it. file: its path, for messages. reads: counts them, also between threads.
    """

    handle: Any
    name: str
    file: Path
    reads: Iterator[int] = field(default_factory=count, repr=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """As stored."""
        return tuple(self.handle.get_slice(self.name).get_shape())

    @property
    def dtype_name(self) -> str:
        """The name safetensors has for the dtype, e.g. `"BF16"`."""
        return self.handle.get_slice(self.name).get_dtype()

    def read(self) -> torch.Tensor:
        """The tensor, on the CPU. From the second time on a copy: what the file maps is one memory, and three decoders
        that began with one tensor would learn as one.

        Raises:
            ValueError: the file ends before the tensor does.
        """
        try:
            value = self.handle.get_tensor(self.name)
            return value.clone() if next(self.reads) else value
        except SafetensorError as error:
            raise ValueError(f"{self.file}: the tensor {self.name} can not be read ({error})") from error


@dataclass
class HeldTensor:
    """A tensor that is in memory, or mapped into it, already.

    Attributes:
        value: the tensor. name: of it. file: where it comes from, for messages.
    """

    value: torch.Tensor
    name: str
    file: Path | str

    @property
    def shape(self) -> tuple[int, ...]:
        """As it is."""
        return tuple(self.value.shape)

    @property
    def dtype_name(self) -> str:
        """The name safetensors has for the dtype."""
        return _DTYPE_NAMES.get(self.value.dtype, "I64")

    def read(self) -> torch.Tensor:
        """A copy: the model must not share memory with a file, nor with another model."""
        return self.value.detach().clone()


Tensors = Mapping[str, StoredTensor | HeldTensor]


class LazyTensor:
    """A parameter made of stored tensors, read with `lazy[...]` as the loader of transformers reads a slice.

    Args:
        parts: `(stored tensor, part to take)` in the order in which they are joined along axis 0.
    """

    def __init__(self, parts: list[tuple[StoredTensor | HeldTensor, Take | None]]) -> None:
        self.parts = parts

    def __getitem__(self, index: Any) -> torch.Tensor:
        read = [stored.read() if take is None else take(stored.read()) for stored, take in self.parts]
        whole = read[0] if len(read) == 1 else torch.cat(read)
        # A part of a larger tensor would keep all of it in memory.
        return (whole.contiguous().clone() if self.parts[0][1] is not None else whole)[index]

    def get_dtype(self) -> str:
        """The name safetensors has for the dtype, e.g. `"BF16"`."""
        return self.parts[0][0].dtype_name

    @property
    def dtype(self) -> torch.dtype | None:
        """The dtype, `None` for one that no weight has."""
        return _DTYPES.get(self.get_dtype())

    @property
    def origin(self) -> str:
        """File, name and shape of what it is made of, for messages."""
        stored = self.parts[0][0]
        return f"{stored.file}: {stored.name} {stored.shape}"


@contextmanager
def open_tensors(files: Iterable[Path]) -> Iterator[dict[str, StoredTensor]]:
    """All tensors of safetensors files by name, to be read inside the context.

    Raises:
        ValueError: a file that is no safetensors file, is cut short, or holds a name that another one holds; the
            message names it.
    """
    tensors: dict[str, StoredTensor] = {}
    with ExitStack() as stack:
        for file in files:
            try:
                handle = stack.enter_context(safe_open(file, framework="pt"))
            except (SafetensorError, OSError) as error:
                raise ValueError(f"{file} is no whole safetensors file: {error}") from error
            for name in handle.keys():  # noqa: SIM118  (a file, not a dictionary)
                if name in tensors:
                    raise ValueError(f"{file} and {tensors[name].file} both hold the tensor {name}")
                tensors[name] = StoredTensor(handle, name, file)
        yield tensors


def torch_file_tensors(path: Path) -> dict[str, HeldTensor]:
    """Tensors of a `.pt` file, mapped, not read. Nothing in the file is run.

    Args:
        path: holds a state dictionary, or one under the key `"model"`.

    Raises:
        ValueError: a file that is damaged, or holds anything but tensors.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"{path} holds more than tensors and is not read, since that could run code ({reason})"
        ) from error
    except (RuntimeError, OSError, EOFError) as error:
        raise ValueError(f"{path} is no whole file of torch.save: {str(error).splitlines()[0]}") from error
    state = content.get("model", content) if isinstance(content, dict) else content
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ValueError(f"{path} must hold tensors by name, alone or under 'model'")
    return {name: HeldTensor(value, name, path) for name, value in state.items()}


def module_tensors(module: torch.nn.Module) -> dict[str, HeldTensor]:
    """Weights of a loaded module by name; tied ones under their first name.

    Raises:
        ValueError: a weight that is not at hand (offloaded) or not a plain one (quantised).
    """
    where, tensors, seen = f"the loaded {type(module).__name__}", {}, set()
    for name, value in module.state_dict(keep_vars=True).items():
        if value.is_meta or not value.is_floating_point():
            raise ValueError(f"{where} has no plain weight {name} (offloaded or quantised); give its folder instead")
        if id(value) not in seen:
            tensors[name] = HeldTensor(value, name, where)
        seen.add(id(value))
    return tensors


__all__ = [
    "HeldTensor",
    "LazyTensor",
    "StoredTensor",
    "Tensors",
    "module_tensors",
    "open_tensors",
    "torch_file_tensors",
]
