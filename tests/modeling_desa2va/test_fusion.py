"""Fusion of two masks: its arithmetic, its limits, its gradients."""

import pytest
import torch

from desa2va.modeling_desa2va.fusion import MaskFusion
from desa2va.modeling_desa2va.outputs import MaskPrediction

P, C, S = 3, 8, 4


def prediction(value, iou):
    return MaskPrediction(torch.full((P, S, S), value), torch.full((P,), iou), torch.zeros(P), torch.zeros(P, C))


@pytest.mark.parametrize("kind", ["gate", "mean", "pixel"])
def test_fused_lies_between_and_follows_the_gate(kind):
    """m = g m_v + (1 - g) m_t with m_t = -2, m_v = 6: m = 8 g - 2."""
    torch.manual_seed(0)
    fused = MaskFusion(kind, C)(prediction(-2.0, 0.3), prediction(6.0, 0.9), torch.randn(P, C), torch.randn(P, C))
    gate = (fused.fused.logits + 2) / 8
    assert ((gate >= 0) & (gate <= 1)).all()
    torch.testing.assert_close(gate.mean(dim=(1, 2)), fused.gate)
    if kind == "mean":
        assert fused.gate.tolist() == [0.5] * P
    torch.testing.assert_close(fused.fused.iou, 0.6 * fused.gate + 0.3)


def test_presence_is_what_the_visual_branch_says():
    """The text decoder never saw an object that is absent: its score, high on every frame, drowned the other's no."""
    text, visual = prediction(-2.0, 0.3), prediction(6.0, 0.9)
    text.object_score, visual.object_score = torch.full((P,), 30.0), torch.tensor([-2.0, -0.5, 4.0])
    fused = MaskFusion("gate", C)(text, visual, torch.randn(P, C), torch.randn(P, C))
    assert fused.fused.object_score.tolist() == [-2.0, -0.5, 4.0]


def test_a_saturated_gate_returns_one_branch():
    fusion = MaskFusion("gate", C)
    torch.nn.init.zeros_(fusion.gate[-1].weight)
    torch.nn.init.constant_(fusion.gate[-1].bias, 50.0)
    text, visual = prediction(-2.0, 0.3), prediction(6.0, 0.9)
    fused = fusion(text, visual, torch.randn(P, C), torch.randn(P, C))
    torch.testing.assert_close(fused.fused.logits, visual.logits)


def test_the_gate_does_not_bend_the_scores():
    """Predicted IoUs inform the gate; a gradient through them would teach the IoU heads to please the gate."""
    visual = prediction(6.0, 0.9)
    visual.iou.requires_grad_()
    fusion = MaskFusion("gate", C)
    fusion(prediction(-2.0, 0.3), visual, torch.randn(P, C), torch.randn(P, C)).fused.logits.sum().backward()
    assert visual.iou.grad is None or visual.iou.grad.abs().sum() == 0
    assert fusion.gate[0].weight.grad.abs().sum() > 0


def test_without_text_the_visual_mask_is_the_mask():
    visual = prediction(1.0, 0.5)
    fused = MaskFusion("mean", C)(None, visual, None, torch.randn(P, C))
    assert fused.fused is visual
    assert fused.text is None


@pytest.mark.parametrize("kind", ["gate", "pixel"])
def test_isolated_text_changes_no_mask_and_gets_no_gradient_from_the_fused_one(kind):
    """The text mask is never compared with the ground truth, also not through the fused mask (section 3.4)."""
    torch.manual_seed(0)
    fusion = MaskFusion(kind, C)
    text, visual = prediction(-2.0, 0.3), prediction(6.0, 0.9)
    prompts = [torch.randn(P, C, requires_grad=True) for _ in range(2)]
    text.logits.requires_grad_()
    visual.logits.requires_grad_()
    free = fusion(text, visual, *prompts)
    fusion.text_isolated = True
    isolated = fusion(text, visual, *prompts)
    torch.testing.assert_close(isolated.fused.logits, free.fused.logits)
    isolated.fused.logits.square().sum().backward()
    assert text.logits.grad is None
    assert prompts[0].grad is None
    assert visual.logits.grad.abs().min() > 0
    assert prompts[1].grad.abs().max() > 0
    assert isolated.text is text  # the branch itself keeps its graph for its own teacher
