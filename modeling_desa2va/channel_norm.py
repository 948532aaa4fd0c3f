"""SAM-2's norms over few channels, for a CPU (METHOD section 2).

Enters: the networks that read masks, whose grids are large and have 4 and 16 channels at first. Leaves: the same
modules with the same weights and, to rounding, the same outputs. torch normalises one place after the other, and with
so few numbers a place the going from place to place is nearly all of the time.
"""

from __future__ import annotations

import torch
from torch import nn
from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoLayerNorm

from .devices import by_hand

FEW_CHANNELS = 16


class FewChannelNorm(Sam2VideoLayerNorm):
    """The norm of all places at once, channel by channel; transformers' own where gradients or half precision are
    wanted, and on accelerators.
    """

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(O, C, H, W), normalised over C."""
        if not (features.is_contiguous() and by_hand(self.weight, features)):
            return super().forward(features)
        channels = features.shape[1]
        centred = features - features.sum(1, keepdim=True).div_(channels)
        scale = (centred * centred).sum(1, keepdim=True).div_(channels).add_(self.eps).rsqrt_()
        return centred.mul_(scale).mul_(self.weight[:, None, None]).add_(self.bias[:, None, None])


def norm_all_places_at_once(network: nn.Module) -> None:
    """Turns the norms over few channels in a network into those above; weights stay where they are."""
    for module in network.modules():
        if type(module) is not Sam2VideoLayerNorm or module.data_format != "channels_first":
            continue
        if module.normalized_shape[0] <= FEW_CHANNELS:
            module.__class__ = FewChannelNorm


__all__ = ["FewChannelNorm", "norm_all_places_at_once"]
