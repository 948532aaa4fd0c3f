"""From one `[SEG]` state to a textual and a visual prompt (paper section 3.2, Eq. 1 and 2).

Enters: (..., D) last-layer states of the language model. Leaves: (..., C) tokens for SAM-2's decoders. With
`temporal="motion"` (the future work of the paper's conclusion, in our reading) a third projection says how the visual
prompt changes over the key frames of a video.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from .devices import execution_device
from .precision import Float32Module


class Projection(nn.Module):
    """`W x + b`, or Linear-ReLU-Linear for `kind="mlp"` (the design of Sa2VA; the paper leaves the choice open).

    Args:
        kind: `"linear"` or `"mlp"`. in_features: D. out_features: C.
        rank: width of a linear bottleneck: the last layer is the product of two matrices, so that no more than `rank`
            numbers of a state reach the decoders. `None`: one matrix.
        hidden: inner width of the MLP; D where `None`.
    """

    def __init__(
        self, kind: str, in_features: int, out_features: int, rank: int | None = None, hidden: int | None = None
    ) -> None:
        super().__init__()
        if kind not in ("linear", "mlp"):
            raise ValueError(f"kind={kind!r} is unknown; choose linear or mlp")
        layers: list[nn.Module] = []
        if kind == "mlp":
            layers += [nn.Linear(in_features, hidden or in_features), nn.ReLU()]
            in_features = hidden or in_features
        self.num_inner = len(layers)
        if rank is not None:
            layers.append(nn.Linear(in_features, rank, bias=False))
            in_features = rank
        self.layers = nn.Sequential(*layers, nn.Linear(in_features, out_features))

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """(..., D) -> (..., C)."""
        first = self.layers[0]
        return self.layers(states.to(execution_device(first), first.weight.dtype))


class MotionProjection(nn.Linear):
    """W_m: (..., D) -> (..., C), zero at the start, so that a model with it begins as the model without it."""

    def reset_parameters(self) -> None:
        """Sets weight and bias to zero."""
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """(..., D) -> (..., C)."""
        return super().forward(states.to(execution_device(self), self.weight.dtype))


@dataclass
class Prompts:
    """Prompts of O objects with S tokens each.

    Attributes:
        text: (O, S, C), `None` in mode `sa2va`. visual: (O, S, C). motion: (O, S, C), `None` unless
            `temporal="motion"`.
    """

    text: torch.Tensor | None
    visual: torch.Tensor
    motion: torch.Tensor | None = None

    def to(self, device: torch.device) -> Prompts:
        """The same on another device."""
        parts = (self.text, self.visual, self.motion)
        return Prompts(*[None if part is None else part.to(device) for part in parts])

    def at(
        self, objects: torch.Tensor, tokens: torch.Tensor, time: torch.Tensor
    ) -> tuple[torch.Tensor | None, torch.Tensor]:
        """What P object-frame pairs are decoded with: h_t, and `h_v + t h_m`.

        Args:
            objects, tokens: (P,) object and token of each pair. time: (P,) t in [-1, 1]; pairs with t = 0 (every still
                image) keep h_v bit for bit and give h_m no gradient.

        Returns:
            Text (P, C) or `None`, visual (P, C).
        """
        text = None if self.text is None else self.text[objects, tokens]
        visual = self.visual[objects, tokens]
        if self.motion is not None:
            rows = time.nonzero()[:, 0]
            change = time[rows, None] * self.motion[objects[rows], tokens[rows]]
            visual = visual.index_add(0, rows, change.to(visual.dtype))
        return text, visual


class Decoupling(Float32Module):
    """The three projections: text and visual (Eq. 1, 2) and label (section 3.2), or the visual one alone in mode
    `sa2va`; and `motion` on request.

    Args:
        prompt_mode: `"desa2va"` or `"sa2va"`. kind: see `Projection`. in_features: D. out_features: C.
        temporal: `"motion"` adds W_m, in both modes; `"none"` does not. rank, hidden: of the projections; the label's
            has the bottleneck too.

    Attributes:
        text_isolated: losses of the text prompt teach W_t and stop there; see `DeSa2VAModel.isolate_text`.
    """

    text_isolated = False

    def __init__(
        self,
        prompt_mode: str,
        kind: str,
        in_features: int,
        out_features: int,
        temporal: str = "none",
        rank: int | None = None,
        hidden: int | None = None,
    ) -> None:
        super().__init__()
        self.motion = MotionProjection(in_features, out_features) if temporal == "motion" else None
        self.visual = Projection(kind, in_features, out_features, rank, hidden)
        if prompt_mode == "desa2va":
            self.text = Projection(kind, in_features, out_features, rank, hidden)
            # Always linear: the paper's third linear reads a label, it decouples nothing.
            self.label = Projection("linear", in_features, out_features, rank)

    def forward(self, states: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor]:
        """(..., D) -> text prompt (..., C) or `None` in mode `sa2va`, visual prompt (..., C)."""
        if not hasattr(self, "text"):
            return None, self.visual(states)
        return self.text(states.detach() if self.text_isolated else states), self.visual(states)

    def prompts(self, states: torch.Tensor) -> Prompts:
        """(O, S, D) -> every prompt the model has for its objects."""
        text, visual = self(states)
        return Prompts(text, visual, None if self.motion is None else self.motion(states))


__all__ = ["Decoupling", "MotionProjection", "Projection", "Prompts"]
