"""One optimizer object made of two: Muon for the matrices of chosen modules, AdamW for everything else.

Enters: named parameters and arguments. Leaves: an `Optimizer` that transformers' Trainer, its schedulers and
accelerate can drive.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn


class PairedOptimizer(torch.optim.Optimizer):
    """Drives several optimizers as one: their parameter groups lie side by side, a scheduler scales all of them.

    Args:
        parts: optimizers over disjoint parameters.
    """

    def __init__(self, parts: list[torch.optim.Optimizer]) -> None:
        self.parts = parts
        super().__init__([group for part in parts for group in part.param_groups], {})
        self._link()

    def _link(self) -> None:
        # The very same dictionaries: a learning rate set here is the parts' learning rate.
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    def step(self, closure: Any = None) -> Any:
        """One step of every part."""
        loss = closure() if closure is not None else None
        for part in self.parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """States of the parts, in order."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores what `state_dict` gave."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self._link()


def build_optimizer(
    named_parameters: Iterable[tuple[str, nn.Parameter]],
    *,
    learning_rate: float,
    weight_decay: float,
    betas: tuple[float, float],
    muon_learning_rate: float = 0.0,
    muon_modules: tuple[str, ...] = (),
) -> torch.optim.Optimizer:
    """AdamW, and Muon beside it where `muon_learning_rate` is positive.

    Args:
        named_parameters: only those that require gradients are used. weight_decay: on matrices and larger alone.
        muon_modules: prefixes; their 2-D weights go to Muon.

    Raises:
        ValueError: nothing to train.
    """
    muon, decayed, plain = [], [], []
    for name, parameter in named_parameters:
        if not parameter.requires_grad:
            continue
        if muon_learning_rate > 0 and parameter.ndim == 2 and name.startswith(tuple(muon_modules)):
            muon.append(parameter)
        else:
            (decayed if parameter.ndim >= 2 else plain).append(parameter)
    if not muon and not decayed and not plain:
        raise ValueError("no parameter requires a gradient; check `trainable` and `language_model`")
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
    adamw = (
        torch.optim.AdamW([group for group in groups if group["params"]], lr=learning_rate, betas=betas)
        if decayed or plain
        else None
    )
    if not muon:
        return adamw
    parts = [torch.optim.Muon(muon, lr=muon_learning_rate, weight_decay=weight_decay)]
    return PairedOptimizer(parts + ([adamw] if adamw else []))


__all__ = ["PairedOptimizer", "build_optimizer"]
