"""Phase 0's objectives: they learn something, reach the parts they should, and survive odd batches."""

import numpy as np
import pytest
import torch

from desa2va.training.arguments import DeSa2VATrainingArguments, MaskLossArguments
from desa2va.training.data.refshapes.dataset import RefShapes
from desa2va.training.data.sample import Conversation, Sample
from desa2va.training.objectives.grounding import GroundingObjective
from desa2va.training.objectives.reading import shown_frames
from desa2va.training.objectives.segmenter import SegmenterObjective, boxes_of, clicks_in, coarse_logits
from desa2va.training.objectives.vision import VisionObjective
from desa2va.training.phases import build_objective

LOSS = MaskLossArguments(mask_target_size=32)


def losses_over(objective, batch, steps=6, rate=3e-3):
    optimizer = torch.optim.AdamW(objective.parameters(), lr=rate)
    history = []
    for _ in range(steps):
        torch.manual_seed(0)
        output = objective(**batch)
        loss = sum(output["terms"].values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    return history


def test_vision_objective_learns(make_model, batch):
    history = losses_over(VisionObjective(make_model()).train(), batch)
    assert history[-1] < 0.8 * history[0]


def test_grounding_objective_learns(make_model, processor, batch):
    history = losses_over(GroundingObjective(make_model(), processor.tokenizer).train(), batch)
    assert history[-1] < 0.8 * history[0]


def test_grounding_tells_an_outlined_picture_from_the_next_frame(make_model, processor):
    """Guards against dense targets of another picture: an outlined one is encoded beside the one without, and first
    where the first conversation of a sample marks a region.
    """
    kinds = {"region": 0.5, "attribute": 0.3, "qa_color": 0.2}
    dataset = RefShapes(
        "train", "full", conversations=3, length=6, seed=1, kinds=kinds, video_fraction=0.3, num_frames=2
    )
    samples = [dataset[i] for i in range(6)]
    batch = processor.collate(samples)
    assert len(batch["pixel_values"]) > sum(len(sample.frames) for sample in samples)
    frames = shown_frames(batch["sequence_visual"], batch["image_index"], samples)
    plain = (Conversation((("Is it?", "yes"),), np.zeros((0, 1, 128, 128), bool)),)
    alone = [Sample(frame[None], plain) for sample in samples for frame in sample.frames]
    equal = batch["pixel_values"] == processor.collate(alone)["pixel_values"][frames]
    assert equal.float().mean((1, 2, 3)).min() > 0.9
    history = losses_over(GroundingObjective(make_model(), processor.tokenizer).train(), batch, steps=3)
    assert history[-1] < history[0]


def test_segmenter_objective_learns_with_and_without_videos(make_model, processor):
    dataset = RefShapes("train", conversations=1, length=4, video_fraction=0.5, seed=3)
    samples = [dataset[i] for i in range(4)]
    assert {sample.is_video for sample in samples} == {True, False}
    objective = SegmenterObjective(make_model(), LOSS, teacher_steps=4, clip_frames=3).train()
    output = objective(**processor.collate(samples))
    assert set(output["terms"]) == {
        "dense",
        "named_mask",
        "prompt_mask",
        "reread_mask",
        "memory_mask",
        "iou",
        "object_score",
    }
    history = losses_over(objective, processor.collate(samples), steps=5)
    assert history[-1] < history[0]
    still = [sample for sample in samples if not sample.is_video]
    assert "memory_mask" not in objective(**processor.collate(still))["terms"]


def test_named_objects_cost_nothing_where_nobody_asks(make_model, processor, batch, tmp_path):
    """Weight 0 decoded every named object for a term that was multiplied away."""
    for weight in (0.0, 1.0):
        arguments = DeSa2VATrainingArguments(
            output_dir=str(tmp_path), phase="segmenter", max_steps=1, use_cpu=True, weights={"named_mask": weight}
        )
        objective = build_objective(make_model(), arguments, LOSS, processor, None).train()
        calls = []
        objective.name_decoder.register_forward_hook(lambda *a, calls=calls: calls.append(1))
        assert ("named_mask" in objective(**batch)["terms"]) == (weight > 0)
        assert len(calls) == (weight > 0)


def test_memory_gets_gradients(make_model, processor):
    dataset = RefShapes("train", conversations=1, length=2, video_fraction=1.0)
    model = make_model().train()
    objective = SegmenterObjective(model, LOSS, teacher_steps=1)
    objective(**processor.collate([dataset[0], dataset[1]]))["terms"]["memory_mask"].backward()
    for part in ("memory_attention", "memory_encoder", "mask_decoder", "vision_encoder"):
        grads = [p.grad for p in getattr(model.segmenter.sam, part).parameters()]
        assert any(g is not None and g.abs().sum() > 0 for g in grads), part


def test_prompts_point_at_their_object():
    """First clicks and boxes lie on the mask, a second click carries the label of the pixel it hits."""
    torch.manual_seed(0)
    masks = torch.zeros(5, 32, 32)
    masks[:, 10:20, 5:12] = 1
    points, labels = clicks_in(masks, 1.0, 2)
    x, y = points.long().unbind(-1)
    hit = masks[torch.arange(5)[:, None], y, x]
    assert (hit[:, 0] == 1).all()
    assert torch.equal(hit.long(), labels)
    assert (boxes_of(masks) - torch.tensor([5.0, 10.0, 12.0, 20.0])).abs().max() <= 2
    coarse = coarse_logits(masks, 32)
    assert coarse[:, 13:17, 7:10].mean() > 0 > coarse[:, :6].mean()


def test_lessons_of_phase_0_go_on_where_they_have_a_weight(make_model, processor, tmp_path):
    """Both readers learn beside the masks, reach the language layers before and after the middle, and cost nothing
    where their weight is 0; a batch without a video or an object keeps a gradient for both."""
    clips = RefShapes("train", "full", conversations=2, length=2, seed=2, video_fraction=1.0, num_frames=3)
    asked = RefShapes("train", "full", conversations=1, length=2, kinds={"qa_count": 1.0})
    weights = {"language": 1.0, "grounding": 0.5, "motion": 0.5}

    def objective_of(weights):
        arguments = DeSa2VATrainingArguments(
            output_dir=str(tmp_path), phase="fusion", max_steps=1, use_cpu=True, language_model="full", weights=weights
        )
        return build_objective(make_model(), arguments, LOSS, processor, None).train()

    objective, batch = objective_of(weights), processor.collate([clips[0], clips[1]])
    output = objective(**batch)
    assert {"grounding", "motion"} <= set(output["terms"])
    assert {"motion_accuracy", "seg_place", "seg_size"} <= set(output["metrics"])
    layers = objective.model.mllm.model.language_model.layers
    first, last = (layer.mlp.down_proj.weight for layer in (layers[0], layers[-1]))
    gradient = torch.autograd.grad(output["terms"]["motion"], [first, last], retain_graph=True, allow_unused=True)
    assert gradient[0].abs().max() > 0
    assert gradient[1] is None  # read before it
    assert torch.autograd.grad(output["terms"]["grounding"], last)[0].abs().max() > 0
    optimizer = torch.optim.AdamW(objective.parameters(), lr=3e-3)
    history = []
    for _ in range(6):
        terms = objective(**batch)["terms"]
        loss = terms["grounding"] + terms["motion"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < 0.8 * history[0]

    output = objective(**processor.collate([asked[0], asked[1]]))
    assert output["terms"]["motion"] == output["terms"]["grounding"] == 0
    sum(output["terms"].values()).backward()
    assert "motion_accuracy" not in output["metrics"]
    assert not set(objective_of({"language": 1.0})(**batch)["terms"]) & {"grounding", "motion"}


def test_factor_words_must_be_single_tokens(make_model, processor):
    from desa2va.processing.tiny_tokenizer import build_tiny_tokenizer

    with pytest.raises(ValueError, match="triangle"):
        GroundingObjective(make_model(), build_tiny_tokenizer(["a red circle"]))
