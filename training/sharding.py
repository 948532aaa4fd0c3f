"""FSDP2: weights, gradients and optimizer states divided among the processes (`accelerate`'s, version 2).

Enters: a trainer's accelerator and the objective it wraps. Leaves: how it is divided, and whole weights again where
they are needed. A unit that is gathered by itself has to be run by every process equally often, or the others wait for
ever; pictures, frames and objects are not in every process' batch, words are. So the layers of the language model are
the units, and everything else, which is small beside them, is gathered once a step with the objective.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import FSDPModule
from torch.distributed.fsdp.wrap import transformer_auto_wrap_policy
from torch.distributed.tensor import DTensor, distribute_tensor


def sharding_plugin(options: dict[str, Any] | None) -> FullyShardedDataParallelPlugin | None:
    """What divides a model, `None` where neither arguments (`options` of the plugin) nor the launcher ask for it."""
    if options is not None:
        return FullyShardedDataParallelPlugin(**options)
    wanted = os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"
    return FullyShardedDataParallelPlugin() if wanted else None


def is_sharded(module: nn.Module) -> bool:
    """Whether a part of `module` holds but a share of its weights just now."""
    return any(isinstance(part, FSDPModule) for part in module.modules())


def shard_by_layers(accelerator: Accelerator, plugin: FullyShardedDataParallelPlugin) -> None:
    """Lets accelerate divide a model as this project needs it: units as the module says, optimizer states saved in
    shards, and precision that of the autocast, as without sharding: SAM-2 keeps float32 weights.
    """
    accelerator.state.distributed_type = DistributedType.FSDP
    accelerator.state.fsdp_plugin = plugin
    plugin.set_state_dict_type("SHARDED_STATE_DICT")
    plugin.auto_wrap_policy, plugin.transformer_cls_names_to_wrap = transformer_auto_wrap_policy, None
    plugin.mixed_precision_policy = None


def whole_state(module: nn.Module) -> dict[str, torch.Tensor]:
    """The `state_dict`; of a sharded module whole, on the CPU of the first process, and nothing elsewhere. A
    collective call.
    """
    if not is_sharded(module):
        return module.state_dict()
    state = get_model_state_dict(module, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    first: dict[int, str] = {}
    for name, value in module.named_parameters(remove_duplicate=False):
        known = first.setdefault(id(value), name)
        if known != name and name in state:
            state[name] = state[known]  # tied weights are gathered once for each of their names
    return state


def load_whole_state(module: nn.Module, state: dict[str, torch.Tensor]) -> Any:
    """`load_state_dict(state, strict=False)`, also where `module` is sharded. Every process gives the whole state."""
    own = module.state_dict() if is_sharded(module) else {}
    shares = {
        name: distribute_tensor(state[name].to(value.device), value.device_mesh, value.placements)
        for name, value in own.items()
        if isinstance(value, DTensor) and name in state
    }
    return module.load_state_dict({**state, **shares}, strict=False)


__all__ = ["is_sharded", "load_whole_state", "shard_by_layers", "sharding_plugin", "whole_state"]
