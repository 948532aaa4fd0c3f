"""From one `[SEG]` state to a textual and a visual prompt (paper section 3.2, Eq. 1 and 2).

Enters: (..., D) last-layer states of the language model. Leaves: (..., C) tokens for SAM-2's decoders.
"""

from __future__ import annotations

import torch
from torch import nn


class Projection(nn.Module):
    """`W x + b`, or Linear-ReLU-Linear for `kind="mlp"` (the design of Sa2VA; the paper leaves the choice open).

    Args:
        kind: `"linear"` or `"mlp"`. in_features: D. out_features: C.
    """

    def __init__(self, kind: str, in_features: int, out_features: int) -> None:
        super().__init__()
        if kind == "linear":
            self.layers = nn.Sequential(nn.Linear(in_features, out_features))
        elif kind == "mlp":
            self.layers = nn.Sequential(
                nn.Linear(in_features, in_features), nn.ReLU(), nn.Linear(in_features, out_features)
            )
        else:
            raise ValueError(f"kind={kind!r} is unknown; choose linear or mlp")

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """(..., D) -> (..., C)."""
        return self.layers(states)


class Decoupling(nn.Module):
    """The three projections: text and visual (Eq. 1, 2) and label (section 3.2), or the visual one alone in mode
    `sa2va`.

    Args:
        prompt_mode: `"desa2va"` or `"sa2va"`. kind: see `Projection`. in_features: D. out_features: C.
    """

    def __init__(self, prompt_mode: str, kind: str, in_features: int, out_features: int) -> None:
        super().__init__()
        self.visual = Projection(kind, in_features, out_features)
        if prompt_mode == "desa2va":
            self.text = Projection(kind, in_features, out_features)
            # Always linear: the paper's third linear reads a label, it decouples nothing.
            self.label = Projection("linear", in_features, out_features)

    def forward(self, states: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor]:
        """(..., D) -> text prompt (..., C) or `None` in mode `sa2va`, visual prompt (..., C)."""
        text = self.text(states) if hasattr(self, "text") else None
        return text, self.visual(states)


__all__ = ["Decoupling", "Projection"]
