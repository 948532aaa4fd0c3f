"""Losses: values worked by hand, limiting cases, gradients, precision, and the empty batch."""

import math

import pytest
import torch
import torch.nn.functional as F

from desa2va.training.losses import (
    dice_loss,
    iou_score_loss,
    mask_bce_loss,
    mask_iou,
    mask_loss,
    mask_mse_loss,
    object_score_loss,
    orthogonality_loss,
    resize_logits,
)
from desa2va.training.point_sampling import sample_points, uncertain_point_coords

LOG3 = math.log(3.0)  # sigmoid(log 3) = 3/4, sigmoid(-log 3) = 1/4
LOGITS = torch.tensor([[[LOG3, -LOG3], [0.0, LOG3]]])
TARGETS = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
MASK_LOSSES = (mask_bce_loss, mask_mse_loss, dice_loss, mask_loss)


def assert_near(actual, expected, tolerance=1e-6):
    torch.testing.assert_close(
        torch.as_tensor(actual).detach().float(), torch.tensor(float(expected)), atol=tolerance, rtol=0
    )


def test_bce_by_hand():
    """p = 3/4, 1/4, 1/2, 3/4 against 1, 0, 1, 0: -(log 3/4 + log 3/4 + log 1/2 + log 1/4) / 4."""
    assert_near(mask_bce_loss(LOGITS, TARGETS, 1), -(2 * math.log(0.75) + math.log(0.5) + math.log(0.25)) / 4)


def test_bce_foreground_weight_by_hand():
    """Weight 3 multiplies the two foreground terms (log 3/4 and log 1/2) only."""
    expected = -(3 * (math.log(0.75) + math.log(0.5)) + math.log(0.75) + math.log(0.25)) / 4
    assert_near(mask_bce_loss(LOGITS, TARGETS, 1, pos_weight=3.0), expected)


def test_mse_by_hand():
    """Eq. 9: (1/16 + 1/16 + 1/4 + 9/16) / 4 = 15/64."""
    assert_near(mask_mse_loss(LOGITS, TARGETS, 1), 15 / 64)


def test_dice_by_hand():
    """Eq. 10: overlap 3/4 + 1/2 = 5/4, sizes 9/4 and 2; smoothed 1 - (5/2 + 1) / (17/4 + 1) = 1/3, plain 7/17."""
    assert_near(dice_loss(LOGITS, TARGETS, 1), 1 / 3)
    assert_near(dice_loss(LOGITS, TARGETS, 1, smoothing=0.0), 7 / 17)


def test_mask_loss_is_the_weighted_sum():
    """Eq. 8 with Sa2VA's weights: 2 CE + 0.5 Dice; the kind only exchanges the first term."""
    assert_near(mask_loss(LOGITS, TARGETS, 1), 2 * mask_bce_loss(LOGITS, TARGETS, 1) + 0.5 / 3)
    assert_near(mask_loss(LOGITS, TARGETS, 1, weights=(1.0, 3.0), kind="mse"), 15 / 64 + 1.0)


@pytest.mark.parametrize("loss", MASK_LOSSES)
def test_normaliser_divides_the_sum_over_masks(loss):
    """Two equal masks over 4 give half of one mask over 1; a mean over P would hide the normaliser."""
    once = loss(LOGITS, TARGETS, 1)
    assert_near(loss(LOGITS.repeat(2, 1, 1), TARGETS.repeat(2, 1, 1), torch.tensor(4.0)), once / 2)


@pytest.mark.parametrize("loss", MASK_LOSSES)
def test_limits(loss):
    """A confident right mask costs nothing, a confident wrong one more than an undecided one."""
    sure = (TARGETS * 2 - 1) * 30
    assert_near(loss(sure, TARGETS, 1), 0.0)
    assert loss(-sure, TARGETS, 1) > loss(torch.zeros_like(sure), TARGETS, 1) > 0.1


def test_empty_target_is_defined():
    """An absent object drawn nowhere: the unsmoothed Dice would be 0/0."""
    nothing = torch.full((1, 4, 4), -40.0)
    assert_near(dice_loss(nothing, torch.zeros(1, 4, 4), 1), 0.0)
    assert torch.isfinite(mask_loss(-nothing, torch.zeros(1, 4, 4), 1))


@pytest.mark.parametrize("loss", MASK_LOSSES)
def test_no_masks_give_a_connected_zero(loss):
    """A process without objects must still reach the backward pass, or data parallelism hangs."""
    logits = torch.zeros(0, 4, 4, requires_grad=True)
    value = loss(logits, torch.zeros(0, 8, 8), 0)
    assert value.item() == 0.0
    value.backward()
    assert logits.grad is not None
    assert logits.grad.shape == (0, 4, 4)


def test_no_masks_with_points_and_scores():
    empty, targets = torch.zeros(0, 64, 64, requires_grad=True), torch.zeros(0, 64, 64)
    scores = torch.zeros(0, requires_grad=True)
    values = [
        mask_loss(empty, targets, 1, num_points=16),
        iou_score_loss(scores, empty, targets),
        object_score_loss(scores, torch.zeros(0)),
        orthogonality_loss(torch.zeros(0, 3, requires_grad=True), torch.zeros(0, 3)),
        orthogonality_loss(torch.zeros(0, 3, requires_grad=True), torch.zeros(0, 3), others=(torch.ones(2, 3),) * 2),
    ]
    assert [value.item() for value in values] == [0.0] * 5
    assert all(value.requires_grad for value in values)


def test_logits_are_resized_to_the_target():
    """Doubling [0, 4] without aligned corners interpolates at -1/4, 1/4, 3/4, 5/4: 0, 1, 3, 4."""
    logits = torch.tensor([[[0.0, 4.0]]])
    torch.testing.assert_close(resize_logits(logits, (1, 4)), torch.tensor([[[0.0, 1.0, 3.0, 4.0]]]))
    targets = torch.ones(1, 1, 4)
    assert_near(mask_bce_loss(logits, targets, 1), mask_bce_loss(torch.tensor([[[0.0, 1.0, 3.0, 4.0]]]), targets, 1))


@pytest.mark.parametrize("size", [(7, 12), (3, 2), (5, 9)])
def test_resizing_is_bilinear_interpolation(size):
    """Guards against another rule than torch's of where the pixels lie, in values and in gradients."""
    torch.manual_seed(0)
    logits, same = (torch.randn(3, 5, 6).requires_grad_() for _ in range(2))
    same.data.copy_(logits.data)
    weight = torch.randn(3, *size)
    resized = resize_logits(logits, size)
    expected = F.interpolate(same[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
    torch.testing.assert_close(resized, expected, rtol=0, atol=2e-6)
    (resized * weight).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(logits.grad, same.grad, rtol=0, atol=2e-6)


@pytest.mark.parametrize("loss", MASK_LOSSES)
def test_gradients(loss):
    """Analytic and numerical gradients agree, also through the resizing."""
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 3, dtype=torch.float64, requires_grad=True)
    targets = torch.rand(2, 5, 5, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: loss(x, targets, 2), (logits,))


def test_other_gradients():
    torch.manual_seed(0)
    first, second = (torch.randn(3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(orthogonality_loss, (first, second))


def test_targets_take_no_gradient():
    """The label mask supervises the text mask; a gradient into it would train the frozen branch's prompt."""
    soft = torch.rand(1, 2, 2, requires_grad=True)
    logits = LOGITS.clone().requires_grad_()
    mask_loss(logits, soft, 1).backward()
    assert soft.grad is None
    assert logits.grad.abs().sum() > 0


@pytest.mark.parametrize("loss", MASK_LOSSES)
@pytest.mark.parametrize("target_dtype", [torch.bool, torch.uint8, torch.bfloat16])
def test_half_precision_computes_in_full(loss, target_dtype):
    """A Dice over 256 x 256 bfloat16 pixels summed in bfloat16 is off by percents."""
    torch.manual_seed(0)
    logits = torch.randn(1, 256, 256).bfloat16()
    targets = (torch.rand(1, 256, 256) > 0.5).to(target_dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(logits, targets, 1)
    assert value.dtype == torch.float32
    assert_near(value, loss(logits.double(), targets.double(), 1), 1e-5)


def test_orthogonality_escapes_autocast():
    torch.manual_seed(0)
    first, second = torch.randn(8, 16), torch.randn(8, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = orthogonality_loss(first, second)
    assert_near(value, orthogonality_loss(first.double(), second.double()), 1e-6)


def test_iou_by_hand():
    """Predicted {0, 1}, true {1, 2}: 1/3. Nothing against nothing: 1. Nothing against something: 0."""
    logits = torch.tensor([[[1.0, 1.0, -1.0]], [[-1.0, -1.0, -1.0]], [[-1.0, -1.0, -1.0]]])
    targets = torch.tensor([[[0.0, 1.0, 1.0]], [[0.0, 0.0, 0.0]], [[1.0, 0.0, 0.0]]])
    torch.testing.assert_close(mask_iou(logits, targets), torch.tensor([1 / 3, 1.0, 0.0]))
    pred = torch.tensor([1 / 3, 0.5, 0.5], requires_grad=True)
    loss = iou_score_loss(pred, logits.requires_grad_(), targets)
    assert_near(loss, (0 + 0.5 + 0.5) / 3)
    loss.backward()
    assert logits.grad is None
    torch.testing.assert_close(pred.grad[1:], torch.tensor([-1 / 3, 1 / 3]))


def test_object_score_by_hand():
    """-(log 3/4 + log 1/4) / 2 for a present object scored log 3 and an absent one scored log 3."""
    value = object_score_loss(torch.tensor([LOG3, LOG3]), torch.tensor([True, False]))
    assert_near(value, -(math.log(0.75) + math.log(0.25)) / 2)


def test_orthogonality_by_hand():
    """Rows e1, e1 against e1, e2: A^T B / 2 = e1 (e1 + e2)^T / 2, squared norm 1/2; scale must not matter."""
    first = torch.tensor([[2.0, 0.0], [5.0, 0.0]])
    second = torch.tensor([[3.0, 0.0], [0.0, 0.1]])
    assert_near(orthogonality_loss(first, second), 0.5)


def test_orthogonality_limits():
    """All alike in both: 1, the maximum. Opposite in one, alike in the other: A^T B = 0."""
    alike = torch.ones(4, 3)
    opposite = torch.tensor([[1.0], [-1.0], [1.0], [-1.0]]) * torch.ones(4, 3)
    assert_near(orthogonality_loss(alike, 2 * alike), 1.0)
    assert_near(orthogonality_loss(alike, opposite), 0.0)
    torch.manual_seed(0)
    wide = orthogonality_loss(torch.randn(64, 256), torch.randn(64, 256))
    assert_near(wide, 1 / 64, 1e-3)  # the diagonal i = j alone gives 1 / O


@pytest.mark.parametrize("center", [False, True])
def test_orthogonality_against_remembered_rows_is_that_of_the_batch(center):
    """Where the batch itself is remembered the value is Eq. 7's, and uncentred the gradient too: half of it was lost
    with the side that is a constant. (Centred, Eq. 7 also moves the mean, which is a constant here.)
    """
    torch.manual_seed(0)
    rows = [torch.randn(6, width, dtype=torch.float64).requires_grad_() for width in (5, 4)]
    printed = orthogonality_loss(*rows, center)
    remembered = orthogonality_loss(*rows, center, [row.detach() for row in rows])
    torch.testing.assert_close(remembered, printed)
    if not center:
        for one, other in zip(torch.autograd.grad(remembered, rows), torch.autograd.grad(printed, rows), strict=True):
            torch.testing.assert_close(one, other)


def test_orthogonality_of_objects_adds_up_against_remembered_rows():
    """Each object meets the same others: the mean of eight values of one is the value of eight."""
    torch.manual_seed(0)
    first, second = torch.randn(8, 5), torch.randn(8, 5)
    others = torch.randn(20, 5), torch.randn(20, 5)
    singles = [orthogonality_loss(first[i : i + 1], second[i : i + 1], others=others) for i in range(8)]
    torch.testing.assert_close(sum(singles) / 8, orthogonality_loss(first, second, others=others))


def test_one_object_learns_from_remembered_ones():
    """By hand: a = e1 at length 2, b = e1; remembered a' = b' = (e1 + e2) / sqrt 2. Value (a . a')(b . b') = 1/2;
    twice the slope in a of a / |a| . a' times b . b' is sqrt(1/2) sqrt(1/2) along e2, over |a| = 2: 1/2.
    """
    first = torch.tensor([[2.0, 0.0]], requires_grad=True)
    other = torch.ones(1, 2)
    value = orthogonality_loss(first, torch.tensor([[1.0, 0.0]]), others=(other, other))
    value.backward()
    assert_near(value, 0.5)
    torch.testing.assert_close(first.grad, torch.tensor([[0.0, 0.5]]))


def test_orthogonality_of_one_object_alone_is_constant():
    """Documented weakness of Eq. 7: one object gives 1 and no gradient, whatever the angle between its features."""
    first = torch.randn(1, 5, requires_grad=True)
    value = orthogonality_loss(first, torch.randn(1, 5))
    value.backward()
    assert_near(value, 1.0)
    assert first.grad.abs().max() < 1e-6


def test_centred_orthogonality_ignores_a_common_offset():
    torch.manual_seed(0)
    first, second = torch.randn(4, 3), torch.randn(4, 3)
    moved = orthogonality_loss(first + 100.0, second - 50.0, center=True)
    assert_near(moved, orthogonality_loss(first, second, center=True), 1e-4)
    assert_near(orthogonality_loss(torch.ones(4, 3), second, center=True), 0.0)


def test_sampling_reads_pixel_centres():
    """Pixel (row 1, column 0) of a 2 x 2 map has its centre at x = 1/4, y = 3/4; x and y must not be exchanged."""
    maps = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    coords = torch.tensor([[[0.25, 0.75], [0.75, 0.25], [0.5, 0.5], [0.0, 0.0]]])
    torch.testing.assert_close(sample_points(maps, coords), torch.tensor([[3.0, 2.0, 2.5, 1.0]]))


def test_points_gather_at_the_boundary():
    """Logits fall from 10 to -10 across the width: 3/4 of the points are the most uncertain of the candidates."""
    torch.manual_seed(0)
    logits = torch.linspace(10, -10, 64).expand(2, 64, 64)
    coords = uncertain_point_coords(logits, 1000)
    assert coords.shape == (2, 1000, 2)
    assert coords.min() >= 0
    assert coords.max() <= 1
    near = ((coords[..., 0] - 0.5).abs() < 0.15).float().mean()
    assert 0.75 <= near < 0.9  # all important ones, and 30 % of the uniform quarter


def test_small_masks_take_the_default_number_of_points():
    """12544 points of a 32 x 32 mask: more points than pixels, which a choice without replacement cannot give."""
    assert uncertain_point_coords(torch.randn(1, 32, 32)).shape == (1, 12544, 2)
    few = torch.randn(1, 8, 8)
    assert_near(mask_loss(few, torch.ones(1, 8, 8), 1, num_points=12544), mask_loss(few, torch.ones(1, 8, 8), 1))


def test_point_loss_estimates_the_loss_near_the_boundary():
    """Undecided logits make every point worth log 2; the points see targets and logits at the same places."""
    targets = (torch.arange(64) < 32).float().expand(1, 64, 64)
    assert_near(mask_loss(torch.zeros(1, 16, 16), targets, 1, weights=(1.0, 0.0), num_points=500), math.log(2))
    good = ((targets - 0.5) * 20)[:, ::4, ::4]
    assert mask_loss(good, targets, 1, num_points=500) < mask_loss(-good, targets, 1, num_points=500) / 5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mask_loss(LOGITS, TARGETS, 1, kind="focal"), "bce"),
        (lambda: mask_loss(LOGITS, TARGETS, 1, kind="mse", pos_weight=2.0), "pos_weight"),
        (lambda: mask_bce_loss(LOGITS, TARGETS[0], 1), "three-dimensional"),
        (lambda: mask_bce_loss(LOGITS, TARGETS.repeat(2, 1, 1), 1), "same P"),
        (lambda: dice_loss(LOGITS, TARGETS, 0), "positive"),
        (lambda: uncertain_point_coords(LOGITS, 0), "num_points"),
        (lambda: orthogonality_loss(torch.ones(2, 3), torch.ones(3, 3)), "one row per object"),
    ],
)
def test_invalid_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
