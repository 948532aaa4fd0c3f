"""Where half precision is used and where it is not.

What enters: tensors, functions or modules of any dtype. What leaves: tensors in float32 at least, functions that
compute so (losses and densities sum over many pixels or dimensions, which half precision does not carry), and modules
that keep float32 weights and use half precision only where autocast knows it to be safe (SAM-2; METHOD section 6).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn

from .devices import bring_small_weights, execution_device

HALF_DTYPES = (torch.float16, torch.bfloat16)


def at_least_float32(value: Any) -> Any:
    """Casts a half precision tensor to float32 and returns everything else as it is."""
    if isinstance(value, Tensor) and value.dtype in HALF_DTYPES:
        return value.float()
    return value


def full_precision(function: Callable) -> Callable:
    """Makes a function compute in float32 at least: autocast is off inside and half precision arguments are cast.

    Args:
        function: takes a tensor as its first argument.

    Returns:
        The wrapped function.
    """

    @wraps(function)
    def wrapper(first: Tensor, *args: Any, **kwargs: Any) -> Any:
        with torch.autocast(first.device.type, enabled=False):
            rest = [at_least_float32(value) for value in args]
            return function(at_least_float32(first), *rest, **{k: at_least_float32(v) for k, v in kwargs.items()})

    return wrapper


class Float32Module(nn.Module):
    """A module whose weights stay float32, whatever the model is cast to.

    SAM-2's scores, sine codes and mask logits lose objects when its weights are cast. `model.half()`, `.bfloat16()`
    and `.to(dtype)` therefore leave the weights as they are and set the dtype in which autocast computes.

    Attributes:
        autocast_dtype: float16 or bfloat16 for inference in autocast, `None` for float32; see `inference_autocast`.
    """

    autocast_dtype: torch.dtype | None = None

    def set_precision(self, dtype: torch.dtype) -> None:
        """Computes in `dtype` from now on: in autocast for a half precision, exactly otherwise."""
        half = dtype if dtype in HALF_DTYPES else None
        for module in self.modules():
            if isinstance(module, Float32Module) or module is getattr(self, "sam", None):
                module.autocast_dtype = half

    def _apply(self, function: Callable, recurse: bool = True) -> Float32Module:
        """What every cast and move goes through: moves are made, casts to half precision become autocast."""
        wanted = function(torch.zeros(1)).dtype
        if wanted in HALF_DTYPES:
            self.set_precision(wanted)
            return super()._apply(lambda value: value.to(function(value).device), recurse)
        if function(torch.zeros(1, dtype=torch.bfloat16)).dtype == torch.float32:
            self.set_precision(torch.float32)
        return super()._apply(function, recurse)


def inference_autocast(module: nn.Module) -> AbstractContextManager:
    """Autocast in the dtype that `Float32Module.set_precision` left on `module`; nothing in training mode.

    In training the trainer's own autocast, or its absence, decides.
    """
    dtype = getattr(module, "autocast_dtype", None)
    if dtype is None or module.training:
        return nullcontext()
    return torch.autocast(execution_device(module).type, dtype=dtype)


def without_autocast(module: nn.Module) -> AbstractContextManager:
    """The dtypes as they are, for codes of places that half precision blurs; nothing in training mode."""
    if module.training:
        return nullcontext()
    return torch.autocast(execution_device(module).type, enabled=False)


def in_autocast(function: Callable) -> Callable:
    """Runs a function, or a method, inside `inference_autocast` of its first argument, small weights at hand."""

    @wraps(function)
    def wrapper(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        bring_small_weights(module)
        with inference_autocast(module):
            return function(module, *args, **kwargs)

    return wrapper


__all__ = [
    "HALF_DTYPES",
    "Float32Module",
    "at_least_float32",
    "full_precision",
    "in_autocast",
    "inference_autocast",
    "without_autocast",
]
