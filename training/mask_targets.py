"""Ground-truth masks of a batch as one flat tensor in the order of the model's object-frame pairs.

Enters: the collator's ragged list of masks. Leaves: (P, R, R) soft targets: a pixel holds the covered share of its
area.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


def mask_targets(mask_labels: list[torch.Tensor], size: int, device: torch.device) -> torch.Tensor:
    """O masks (T, H, W) of any sizes -> (P, size, size) float in [0, 1], objects first, then their frames."""
    if not mask_labels:
        return torch.zeros(0, size, size, device=device)
    if len({masks.shape[1:] for masks in mask_labels}) == 1:
        return _resize(torch.cat(mask_labels), size, device)
    return torch.cat([_resize(masks, size, device) for masks in mask_labels])


def _resize(masks: torch.Tensor, size: int, device: torch.device) -> torch.Tensor:
    return F.interpolate(masks[:, None].to(device).float(), size=(size, size), mode="area")[:, 0]


__all__ = ["mask_targets"]
