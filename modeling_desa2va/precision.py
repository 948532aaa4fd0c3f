"""Full precision inside autocast.

What enters: tensors of any dtype. What leaves: the same in float32 at least, or a function that computes so. Losses
and densities sum over many pixels or dimensions, which half precision does not carry.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor


def at_least_float32(value: Any) -> Any:
    """Casts a half precision tensor to float32 and returns everything else as it is."""
    if isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16):
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


__all__ = ["at_least_float32", "full_precision"]
