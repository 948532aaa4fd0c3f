"""Dynamic mask fusion (paper section 3.4, which names it and does not define it; METHOD section 3 does).

Enters: the text and the visual decoder's masks of the same P object-frame pairs, and the two prompts.
Leaves: one fused mask, `g m_v + (1 - g) m_t` in logit space, and the gate `g`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .devices import execution_device
from .outputs import MaskPass, MaskPrediction
from .precision import Float32Module


class MaskFusion(Float32Module):
    """Fuses two masks.

    Args:
        kind: `"gate"`: one g per pair from both prompts and both predicted IoUs; `"pixel"`: one per pixel, from the
            same and the two masks; `"mean"`: g = 1/2, no parameters.
        width: C, the prompt width.

    Attributes:
        text_isolated: the fused mask's loss teaches the gate and the visual branch only; see
            `DeSa2VAModel.isolate_text`.
    """

    text_isolated = False

    def __init__(self, kind: str, width: int) -> None:
        super().__init__()
        self.kind = kind
        if kind != "mean":
            self.gate = nn.Sequential(nn.Linear(2 * width + 2, width), nn.GELU(), nn.Linear(width, 1))
        if kind == "pixel":
            self.pixel = nn.Sequential(nn.Conv2d(2, 8, 3, padding=1), nn.GELU(), nn.Conv2d(8, 1, 3, padding=1))

    def gate_logits(
        self, text: MaskPrediction, visual: MaskPrediction, text_prompt: torch.Tensor, visual_prompt: torch.Tensor
    ) -> torch.Tensor:
        """Gate before its sigmoid: (P, 1, 1), or (P, h, w) for `"pixel"`. Prompts are (P, C)."""
        if self.kind == "mean":
            return torch.zeros_like(visual.iou)[:, None, None]
        # The scores inform the gate; the gate must not bend the scores.
        scores = torch.stack([text.iou, visual.iou], dim=-1).detach().to(visual_prompt.dtype)
        device = execution_device(self.gate)
        logits = self.gate(torch.cat([text_prompt, visual_prompt, scores], dim=-1).to(device))[..., None]
        if self.kind == "pixel":
            both = torch.stack([text.logits, visual.logits], dim=1).detach().tanh()
            logits = logits + self.pixel(both.to(device, visual_prompt.dtype))[:, 0]
        return logits

    def forward(
        self,
        text: MaskPrediction | None,
        visual: MaskPrediction,
        text_prompt: torch.Tensor | None,
        visual_prompt: torch.Tensor,
    ) -> MaskPass:
        """One fused pass; without a text mask (mode `sa2va`) the visual mask is the fused one."""
        if text is None:
            return MaskPass(fused=visual, visual=visual, gate=torch.ones_like(visual.iou))
        taught = text
        if self.text_isolated:
            text = MaskPrediction(**{name: value.detach() for name, value in text.items()})
            text_prompt = text_prompt.detach()
        gate = torch.sigmoid(self.gate_logits(text, visual, text_prompt, visual_prompt)).to(visual.logits)
        per_pair = gate.mean(dim=(1, 2))
        fused = MaskPrediction(
            logits=gate * visual.logits + (1 - gate) * text.logits,
            iou=per_pair * visual.iou + (1 - per_pair) * text.iou,
            # Whether an object is there the visual branch alone has learned: the text decoder only ever saw objects
            # that are, and its score, as high on every frame, would drown the other.
            object_score=visual.object_score,
            tokens=visual.tokens,
        )
        return MaskPass(fused=fused, visual=visual, text=taught, gate=per_pair)


def better_pass(first: MaskPass, second: MaskPass) -> MaskPass:
    """For every pair the pass whose fused mask has the higher predicted IoU, with its branches and its gate."""
    second_wins = second.fused.iou > first.fused.iou

    def choose(old: torch.Tensor | MaskPrediction, new: torch.Tensor | MaskPrediction) -> Any:
        if isinstance(new, MaskPrediction):
            return MaskPrediction(**{name: choose(old[name], value) for name, value in new.items()})
        return torch.where(second_wins.reshape(-1, *[1] * (new.ndim - 1)), new, old)

    return MaskPass(**{name: choose(first[name], value) for name, value in second.items()})


__all__ = ["MaskFusion", "better_pass"]
