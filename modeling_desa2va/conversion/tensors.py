"""Stored tensors that are read when they are asked for, cut and joined on the way.

Enters: safetensors files and places. Leaves: a state dictionary that `from_pretrained(state_dict=...)` takes: each
value is read, alone, when the loader puts it into the model, so that a checkpoint is never in memory twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from .names import Take


@dataclass
class StoredTensor:
    """One tensor of an open file.

    Attributes:
        handle: the open file. name: in it. file: its path, for messages.
    """

    handle: Any
    name: str
    file: Path

    @property
    def shape(self) -> tuple[int, ...]:
        """As stored."""
        return tuple(self.handle.get_slice(self.name).get_shape())

    def read(self) -> torch.Tensor:
        """The tensor, on the CPU.

        Raises:
            ValueError: the file ends before the tensor does.
        """
        try:
            return self.handle.get_tensor(self.name)
        except SafetensorError as error:
            raise ValueError(f"{self.file}: the tensor {self.name} can not be read ({error})") from error


class LazyTensor:
    """A parameter made of stored tensors, read with `lazy[...]` as the loader of transformers reads a slice.

    Args:
        parts: `(stored tensor, part to take)` in the order in which they are joined along axis 0.
    """

    def __init__(self, parts: list[tuple[StoredTensor, Take | None]]) -> None:
        self.parts = parts

    def __getitem__(self, index: Any) -> torch.Tensor:
        read = [stored.read() if take is None else take(stored.read()) for stored, take in self.parts]
        whole = read[0] if len(read) == 1 else torch.cat(read)
        # A part of a larger tensor would keep all of it in memory.
        return (whole.contiguous().clone() if self.parts[0][1] is not None else whole)[index]

    def get_dtype(self) -> str:
        """The name safetensors has for the dtype, e.g. `"BF16"`."""
        stored, _ = self.parts[0]
        return stored.handle.get_slice(stored.name).get_dtype()


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


__all__ = ["LazyTensor", "StoredTensor", "open_tensors"]
