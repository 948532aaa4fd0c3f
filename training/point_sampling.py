"""Sampling of uncertain points of a mask (an option of the mask losses, paper section 3.4; the numbers are Sa2VA's).

What enters: mask logits (P, h, w). What leaves: point coordinates (P, N, 2) in [0, 1], or values at them (P, N). A
loss at 12544 points costs the same for every mask size.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from desa2va.modeling_desa2va.precision import at_least_float32

NUM_POINTS = 12544
OVERSAMPLE_RATIO = 3.0
IMPORTANCE_RATIO = 0.75


def sample_points(maps: Tensor, coords: Tensor) -> Tensor:
    """Reads maps bilinearly at continuous positions.

    Args:
        maps: `(P, H, W)` floating point.
        coords: `(P, N, 2)`, x before y, in [0, 1] of the whole map: pixel centres lie at (i + 0.5) / size.

    Returns:
        `(P, N)`.
    """
    if len(maps) == 0:
        return maps.new_zeros((0, coords.shape[1])) + maps.sum()
    grid = (2.0 * coords - 1.0)[:, :, None].to(maps.dtype)
    return F.grid_sample(maps[:, None], grid, padding_mode="border", align_corners=False)[:, 0, :, 0]


@torch.no_grad()
def uncertain_point_coords(
    logits: Tensor,
    num_points: int = NUM_POINTS,
    oversample_ratio: float = OVERSAMPLE_RATIO,
    importance_ratio: float = IMPORTANCE_RATIO,
) -> Tensor:
    """Draws points of a mask, most of them where the prediction is least certain (PointRend's training scheme).

    `oversample_ratio * num_points` positions are drawn uniformly; of these the `importance_ratio * num_points` with
    the smallest absolute logit stay, and the rest is filled with fresh uniform positions.

    Args:
        logits: `(P, h, w)` mask logits of any size; positions are continuous, so a small mask is simply sampled
            densely.
        num_points: points per mask.
        oversample_ratio: at least 1.
        importance_ratio: in [0, 1].

    Returns:
        Coordinates `(P, num_points, 2)`, x before y, in [0, 1].

    Raises:
        ValueError: where a number is out of its range.
    """
    if num_points < 1 or oversample_ratio < 1 or not 0 <= importance_ratio <= 1:
        raise ValueError(
            "point sampling needs num_points >= 1, oversample_ratio >= 1 and importance_ratio in [0, 1], "
            f"got {num_points}, {oversample_ratio}, {importance_ratio}"
        )
    logits = at_least_float32(logits)
    num_masks, num_important = len(logits), int(importance_ratio * num_points)
    candidates = torch.rand(num_masks, int(oversample_ratio * num_points), 2, dtype=logits.dtype, device=logits.device)
    certainty = sample_points(logits, candidates).abs()
    chosen = certainty.topk(num_important, dim=1, largest=False).indices
    important = candidates.gather(1, chosen[..., None].expand(-1, -1, 2))
    uniform = torch.rand(num_masks, num_points - num_important, 2, dtype=logits.dtype, device=logits.device)
    return torch.cat([important, uniform], dim=1)


__all__ = ["sample_points", "uncertain_point_coords"]
