"""Where a module computes, which is not always where its weights lie.

Enters: a module. Leaves: the device its inputs belong on, and its weights. These may be offloaded (accelerate,
`device_map`): between calls they lie on the meta device, and a hook brings them, and the inputs of `forward`, to an
execution device.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import nn

SMALL = 2048  # numbers that a module owns itself; the most that is read without a `forward` is 1,280 (SAM-2 large)


def execution_device(module: nn.Module) -> torch.device:
    """The device on which `module` computes: its hook's, else that of its first weight.

    Args:
        module: has a weight, or a part with one.
    """
    for part in module.modules():
        device = _hook_device(getattr(part, "_hf_hook", None))
        if device is not None:
            return device
        weight = next(part.parameters(recurse=False), None)
        if weight is not None:
            return weight.device
    raise ValueError(f"{type(module).__name__} has no weights, so it computes where its inputs are")


def by_hand(weight: torch.Tensor, *given: torch.Tensor) -> bool:
    """Whether steps for a CPU may stand in for those of a module that holds `weight`: in float32 without gradients,
    on weights that are there, and neither compiled nor traced.

    Args:
        weight: one of the module's. given: what it works on.
    """
    if torch.is_grad_enabled() or torch.is_autocast_enabled("cpu") or weight.is_meta:
        return False
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return False
    return all(part.device.type == "cpu" and part.dtype == torch.float32 for part in given)


def says_all(network: nn.Module, *known: type[nn.Module]) -> bool:
    """Whether the weights inside say all that is done: an adapter around them would not be called, nor would hooks.

    Asked before every call, hence without `modules()`, which takes four times as long.

    Args:
        network: may have hooks itself. known: modules beside torch's and transformers' whose steps are known.
    """
    left = list(network._modules.values())
    while left:
        module = left.pop()
        wrapped = module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module)  # accelerate sets it
        if wrapped or not (_is_stock(type(module)) or type(module) in known):
            return False
        left += module._modules.values()
    return True


@cache
def _is_stock(kind: type[nn.Module]) -> bool:
    return kind.__module__.startswith(("torch.nn.", "transformers."))


def whole_state_dict(module: nn.Module) -> dict[str, torch.Tensor]:
    """`module.state_dict()`, also of weights that are offloaded just now; these come to the CPU's memory."""
    state = module.state_dict()
    if not any(value.is_meta for value in state.values()):
        return state
    from accelerate.utils.modeling import get_state_dict_offloaded_model

    return state | get_state_dict_offloaded_model(module)


def _hook_device(hook: object) -> torch.device | None:
    """The execution device of accelerate's hook, or of the first of several that has one."""
    for one in getattr(hook, "hooks", [hook]):
        device = getattr(one, "execution_device", None)
        if device is not None:
            return torch.device(device)
    return None


def bring_small_weights(module: nn.Module) -> None:
    """Ends the offloading of small weights in `module`: they come to the execution device and stay there.

    A hook brings weights for the `forward` of the module that owns them. SAM-2 and its decoders also read embeddings,
    tokens and frequencies of their parts without it. All of these are small; whatever is not goes on as before.
    """
    if next(module.parameters()).device.type != "meta":
        return
    for part in module.modules():
        hook = getattr(part, "_hf_hook", None)
        size = sum(weight.numel() for weight in part.parameters(recurse=False))
        for one in getattr(hook, "hooks", [hook]):
            if size <= SMALL and getattr(one, "offload", False):
                one.pre_forward(part)
                one.offload = False


__all__ = ["bring_small_weights", "by_hand", "execution_device", "says_all", "whole_state_dict"]
