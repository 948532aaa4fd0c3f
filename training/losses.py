"""Training losses of DeSa2VA as pure functions (paper sections 3.3 and 3.4, Eq. 7 to 10).

What enters: mask logits (P, h, w) and targets (P, H, W) of P object-frame pairs, scores (P,), mask tokens (O, C),
and a normaliser. What leaves: one scalar in float32 (float64 for float64 input), also
under autocast. No function reads a configuration, logs, or talks to other processes.

The normaliser `num_masks` is what a sum over the local pairs is divided by. Under data parallelism pass the mean
number of pairs per process: the average over the processes is then the mean over all pairs. Without pairs (P = 0)
every loss is an exact zero that stays connected to its input, so a process without objects still takes part in the
backward pass.

Deviations from the paper: Eq. 9 names a squared error "cross-entropy"; `mask_bce_loss` is the cross-entropy the text
asks for and the default, `mask_mse_loss` is Eq. 9 to the letter. Eq. 10 is smoothed by one, so that an empty mask is
defined.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from desa2va.modeling_desa2va.precision import at_least_float32, full_precision

from .point_sampling import sample_points, uncertain_point_coords

MASK_LOSS_KINDS = ("bce", "mse")


def resize_logits(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Resizes mask logits bilinearly (`align_corners=False`), or returns them as they are where the size agrees.

    Args:
        logits: `(P, h, w)`.
        size: `(H, W)`.

    Returns:
        `(P, H, W)`.
    """
    if tuple(logits.shape[-2:]) == tuple(size):
        return logits
    rows, columns = (_resizing(old, new, logits) for old, new in zip(logits.shape[-2:], size, strict=True))
    return rows @ logits @ columns.T


def _resizing(old: int, new: int, like: Tensor) -> Tensor:
    """The matrix (new, old) of bilinear resizing along one side. Two small products take a fifth of the time that
    `F.interpolate` takes on a CPU, backwards too, and agree with it to rounding.
    """
    every = torch.eye(old, dtype=like.dtype, device=like.device)
    return F.interpolate(every[None, None], size=(new, old), mode="bilinear", align_corners=False)[0, 0]


def _normalised_sum(values: Tensor, normaliser: float | Tensor) -> Tensor:
    """Sum of `values` over `normaliser`; an exact, connected zero without values."""
    if values.numel() == 0:
        return values.sum()
    if not isinstance(normaliser, Tensor) and normaliser <= 0:
        raise ValueError(f"the loss normaliser must be positive where there are masks, got {normaliser!r}")
    return values.sum() / normaliser


def _aligned(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Checks shapes and brings logits to the size, targets to the dtype of the other."""
    if logits.ndim != 3 or targets.ndim != 3 or len(logits) != len(targets):
        raise ValueError(
            "logits (P, h, w) and targets (P, H, W) must be three-dimensional with the same P, "
            f"got {tuple(logits.shape)} and {tuple(targets.shape)}"
        )
    logits = resize_logits(logits, targets.shape[-2:])
    return logits, targets.detach().to(logits.dtype)


@full_precision
def mask_bce_loss(
    logits: Tensor, targets: Tensor, num_masks: float | Tensor, pos_weight: float | None = None
) -> Tensor:
    """Pixel-wise binary cross-entropy, averaged over the pixels of a mask and summed over the masks.

    Args:
        logits: `(P, h, w)` mask logits.
        targets: `(P, H, W)` in [0, 1], hard or soft; takes no gradient.
        num_masks: normaliser, see the module docstring.
        pos_weight: weight of the foreground term, for small objects.

    Returns:
        Scalar.

    Raises:
        ValueError: where the shapes do not belong together or the normaliser is not positive.
    """
    logits, targets = _aligned(logits, targets)
    weight = None if pos_weight is None else torch.as_tensor(pos_weight, dtype=logits.dtype, device=logits.device)
    per_pixel = F.binary_cross_entropy_with_logits(logits, targets, pos_weight=weight, reduction="none")
    return _normalised_sum(per_pixel.flatten(1).mean(1), num_masks)


@full_precision
def mask_mse_loss(logits: Tensor, targets: Tensor, num_masks: float | Tensor) -> Tensor:
    """Eq. 9 to the letter: mean squared error of the foreground probabilities.

    Args:
        logits: `(P, h, w)` mask logits.
        targets: `(P, H, W)` in [0, 1]; takes no gradient.
        num_masks: normaliser.

    Returns:
        Scalar in [0, 1] where `num_masks` is P.
    """
    logits, targets = _aligned(logits, targets)
    return _normalised_sum((logits.sigmoid() - targets).square().flatten(1).mean(1), num_masks)


@full_precision
def dice_loss(logits: Tensor, targets: Tensor, num_masks: float | Tensor, smoothing: float = 1.0) -> Tensor:
    """Dice loss (Eq. 10) `1 - (2 sum(p y) + s) / (sum(p) + sum(y) + s)` of the foreground probabilities p.

    Args:
        logits: `(P, h, w)` mask logits.
        targets: `(P, H, W)` in [0, 1]; takes no gradient.
        num_masks: normaliser.
        smoothing: s; defines the loss of two empty masks as zero.

    Returns:
        Scalar in [0, 1] where `num_masks` is P.
    """
    logits, targets = _aligned(logits, targets)
    probabilities, targets = logits.sigmoid().flatten(1), targets.flatten(1)
    overlap = (probabilities * targets).sum(1)
    total = probabilities.sum(1) + targets.sum(1)
    return _normalised_sum(1.0 - (2.0 * overlap + smoothing) / (total + smoothing), num_masks)


def _at_points(logits: Tensor, targets: Tensor, num_points: int) -> tuple[Tensor, Tensor]:
    """Values of logits and targets at `num_points` uncertain positions, as masks of one row `(P, 1, N)`."""
    logits = at_least_float32(logits)
    coords = uncertain_point_coords(logits, num_points)
    return sample_points(logits, coords)[:, None], sample_points(targets.to(logits.dtype), coords)[:, None]


@full_precision
def mask_loss(
    logits: Tensor,
    targets: Tensor,
    num_masks: float | Tensor,
    weights: tuple[float, float] = (2.0, 0.5),
    kind: str = "bce",
    pos_weight: float | None = None,
    num_points: int | None = None,
) -> Tensor:
    """The mask loss of Eq. 8: cross-entropy plus Dice, weighted as in Sa2VA.

    Args:
        logits: `(P, h, w)` mask logits.
        targets: `(P, H, W)` in [0, 1]; takes no gradient.
        num_masks: normaliser.
        weights: of the cross-entropy and of the Dice term.
        kind: `"bce"` (default) or `"mse"` (Eq. 9 to the letter).
        pos_weight: foreground weight of the cross-entropy; not for `"mse"`.
        num_points: computes both terms at so many uncertain points instead of at all pixels. Where the target has no
            more pixels than that, all pixels are used: exact and cheaper.

    Returns:
        Scalar.

    Raises:
        ValueError: for an unknown `kind` or a `pos_weight` that `kind` does not know.
    """
    if kind not in MASK_LOSS_KINDS:
        raise ValueError(f"mask loss must be one of {MASK_LOSS_KINDS}, got {kind!r}")
    if kind == "mse" and pos_weight is not None:
        raise ValueError("pos_weight belongs to the mask loss 'bce'; 'mse' has no foreground weight")
    if num_points is not None and num_points < targets.shape[-2] * targets.shape[-1]:
        logits, targets = _at_points(logits, targets, num_points)
    if kind == "mse":
        cross_entropy = mask_mse_loss(logits, targets, num_masks)
    else:
        cross_entropy = mask_bce_loss(logits, targets, num_masks, pos_weight)
    return weights[0] * cross_entropy + weights[1] * dice_loss(logits, targets, num_masks)


@torch.no_grad()
def mask_iou(logits: Tensor, targets: Tensor) -> Tensor:
    """Intersection over union of the masks `logits > 0` and `targets > 0.5`; two empty masks agree, which counts as 1.

    Args:
        logits: `(P, h, w)`.
        targets: `(P, H, W)` in [0, 1].

    Returns:
        `(P,)` float32 in [0, 1].
    """
    logits, targets = _aligned(at_least_float32(logits), targets)
    predicted, true = logits.flatten(1) > 0, targets.flatten(1) > 0.5
    union = (predicted | true).sum(1).float()
    return torch.where(union > 0, (predicted & true).sum(1) / union.clamp(min=1), torch.ones_like(union))


@full_precision
def iou_score_loss(
    pred_iou: Tensor, logits: Tensor, targets: Tensor, num_masks: float | Tensor | None = None
) -> Tensor:
    """L1 distance of the predicted IoU to the true IoU of the thresholded mask.

    Only `pred_iou` takes a gradient. SAM-2 gives two empty masks the IoU 0; here they count as 1, because the score is
    used to choose between masks and an object that is rightly not drawn must not lose.

    Args:
        pred_iou: `(P,)` predicted IoU.
        logits: `(P, h, w)` mask logits the prediction is about.
        targets: `(P, H, W)` in [0, 1].
        num_masks: normaliser, P by default.

    Returns:
        Scalar.
    """
    values = (pred_iou - mask_iou(logits, targets).to(pred_iou.dtype)).abs()
    return _normalised_sum(values, len(pred_iou) if num_masks is None else num_masks)


@full_precision
def object_score_loss(object_score: Tensor, present: Tensor, num_masks: float | Tensor | None = None) -> Tensor:
    """Binary cross-entropy of SAM-2's object score ("is the object on this frame?").

    Args:
        object_score: `(P,)` logits.
        present: `(P,)` bool, or numbers in [0, 1].
        num_masks: normaliser, P by default.

    Returns:
        Scalar.
    """
    values = F.binary_cross_entropy_with_logits(object_score, present.to(object_score.dtype), reduction="none")
    return _normalised_sum(values, len(object_score) if num_masks is None else num_masks)


@full_precision
def orthogonality_loss(
    first: Tensor, second: Tensor, center: bool = False, others: tuple[Tensor, Tensor] | None = None
) -> Tensor:
    """Orthogonality of two feature matrices (Eq. 7): `||A^T B / O||_F^2`, rows of A and B scaled to unit length.

    Written out this is the mean over all pairs of objects (i, j) of `(a_i . a_j)(b_i . b_j)`: it is small where
    objects that are alike in one modality are unlike in the other (an uncentred linear HSIC). It lies in [0, 1] and
    is the constant 1, without gradient, for a single object. Unit rows and the division by O are ours: unscaled, Eq.
    7 is minimised by shrinking the features and grows with the batch.

    With `others` every object i of the batch meets every remembered object j instead, `mean_i a_i^T G b_i` with
    `G = A'^T B' / M`: a mean over objects that one object alone has too. Remembered rows are constants, but in Eq. 7
    an object stands on both sides of its pairs, so the gradient is doubled: value and gradient are those of Eq. 7
    where the remembered rows are the batch's. A batch unlike the remembered one may have a value below 0.

    Args:
        first: `(O, C)`, e.g. the mask tokens of the text decoder.
        second: `(O, D)`, e.g. the mask tokens of the visual decoder.
        center: subtracts the mean row of each matrix first (of `others` where there are some), which makes it the
            linear HSIC of the two: zero for features that do not vary together.
        others: `(M, C)` and `(M, D)`, M > 0, rows of other objects, without gradient.

    Returns:
        Scalar; zero for O = 0.
    """
    if len(first) != len(second):
        raise ValueError(f"orthogonality needs one row per object in both, got {len(first)} and {len(second)} rows")
    if len(first) == 0:
        return first.sum() + second.sum()
    partners = (first, second) if others is None else tuple(rows.detach().to(first) for rows in others)
    if center:
        means = [rows.mean(0) for rows in partners]
        first, second = first - means[0], second - means[1]
        partners = tuple(rows - mean for rows, mean in zip(partners, means, strict=True))
    first, second = F.normalize(first, dim=-1), F.normalize(second, dim=-1)
    if others is None:
        return (first.T @ second / len(first)).square().sum()
    cross = F.normalize(partners[0], dim=-1).T @ F.normalize(partners[1], dim=-1) / len(partners[0])
    value = ((first @ cross) * second).sum(-1).mean()
    return 2.0 * value - value.detach()


__all__ = [
    "dice_loss",
    "iou_score_loss",
    "mask_bce_loss",
    "mask_iou",
    "mask_loss",
    "mask_mse_loss",
    "object_score_loss",
    "orthogonality_loss",
    "resize_logits",
]
