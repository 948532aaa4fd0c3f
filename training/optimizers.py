"""One optimizer object made of two: Muon for the matrices of chosen modules, AdamW for everything else.

Enters: named parameters and arguments. Leaves: an `Optimizer` that transformers' Trainer, its schedulers and
accelerate can drive.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

COEFFICIENTS, ITERATIONS, EPSILON = (3.4445, -4.7750, 2.0315), 5, 1e-7  # those of torch.optim.Muon


def orthogonalised(matrix: Tensor, dtype: torch.dtype) -> Tensor:
    """About `U V^T` of a matrix `U S V^T`: Muon's Newton-Schulz iteration.

    Args:
        matrix: (rows, columns). dtype: what is iterated in.

    Returns:
        (rows, columns) of `dtype`; what singular values it has lie around 1.
    """
    a, b, c = COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    wide = (matrix.T if tall else matrix).to(dtype)
    wide = wide / wide.norm().clamp(min=EPSILON)
    for _ in range(ITERATIONS):
        gram = wide @ wide.T
        wide = torch.addmm(wide, torch.addmm(gram, gram, gram, beta=b, alpha=c), wide, beta=a)
    return wide.T if tall else wide


class Muon(torch.optim.Optimizer):
    """`torch.optim.Muon`, but iterating in float32 on a CPU.

    torch iterates in bfloat16 everywhere. On a CPU that takes more than twice the time, also on one that has
    instructions for it, and loses digits.

    Args:
        params: matrices. lr: of matrices that are not tall; the square root of rows over columns is on top for others.
        weight_decay: decoupled. momentum: Nesterov's.
    """

    def __init__(self, params: Any, lr: float, weight_decay: float, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step of every matrix that has a gradient."""
        loss = closure() if closure is not None else None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, group["lr"], group["weight_decay"], group["momentum"])
        return loss

    def _move(self, parameter: Tensor, lr: float, weight_decay: float, momentum: float) -> None:
        gradient, state = parameter.grad, self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        average = state["momentum_buffer"].lerp_(gradient, 1 - momentum)
        dtype = torch.float32 if parameter.device.type == "cpu" else torch.bfloat16
        update = orthogonalised(gradient.lerp(average, momentum), dtype)
        parameter.mul_(1 - lr * weight_decay)
        parameter.add_(update, alpha=-lr * math.sqrt(max(1, parameter.shape[0] / parameter.shape[1])))


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
        torch.optim.AdamW([group for group in groups if group["params"]], lr=learning_rate, betas=betas, fused=True)
        if decayed or plain
        else None
    )
    if not muon:
        return adamw
    parts: list[torch.optim.Optimizer] = [Muon(muon, lr=muon_learning_rate, weight_decay=weight_decay)]
    return PairedOptimizer(parts + ([adamw] if adamw else []))


__all__ = ["Muon", "PairedOptimizer", "build_optimizer", "orthogonalised"]
