"""Every language-model family with both versions of SAM-2 in both modes: what works with one works with all."""

import numpy as np
import pytest
import torch

from desa2va.hub import load
from desa2va.processing.batch import PLACEHOLDERS
from desa2va.training.arguments import DeSa2VATrainingArguments, MaskLossArguments
from desa2va.training.data.refshapes.dataset import RefShapes
from desa2va.training.label_states import LabelReader
from desa2va.training.language_adapters import attach_lora
from desa2va.training.phases import build_objective, free_parameters

CLOSE = {"rtol": 0, "atol": 1e-4}
SAM_AND_MODE, OTHER_PAIRS = [("2.0", "desa2va"), ("2.1", "sa2va")], [("2.1", "desa2va"), ("2.0", "sa2va")]
QWEN = ["qwen2_5_vl", "qwen3_vl", "qwen3_5"]
INTERNVL = ["internvl/qwen2", "internvl/qwen3", "internvl/llama"]
BACKBONES = [*INTERNVL, *QWEN]
FAMILIES = [INTERNVL[0], *QWEN]
# Every backbone with both versions and both modes; which goes with which is no matter of the backbone.
CASES = [(backbone, *pair) for backbone in BACKBONES for pair in SAM_AND_MODE]
CASES += [(INTERNVL[0], *pair) for pair in OTHER_PAIRS]
TEXT = "the red circle"


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


def tensors(batch):
    return {name: value for name, value in batch.items() if isinstance(value, torch.Tensor)}


def samples(count=2):
    """A picture with two conversations first, then clips."""
    pictures = RefShapes("train", conversations=2, length=1)
    clips = RefShapes("train", conversations=1, length=count, video_fraction=1.0, seed=1)
    return [pictures[0], *(clips[index] for index in range(count - 1))]


def test_every_family_of_the_processor_is_tested_here():
    """A family that is added to the processor belongs into this matrix."""
    assert {backbone.partition("/")[0] for backbone in BACKBONES} == set(PLACEHOLDERS)


@pytest.mark.parametrize(("backbone", "sam", "mode"), CASES)
def test_answers_and_comes_back_from_disk(make_backbone, backbone, sam, mode, tmp_path):
    """A weight that is not saved, or a field that is not read again, moves the masks."""
    model, processor = make_backbone(backbone, sam, prompt_mode=mode)
    inputs = {"videos": [pixels(5, 30, 60)], "text": TEXT, "task": "segment", "num_key_frames": 2}
    batch = processor(**inputs)
    said = model.generate(**batch, max_new_tokens=3)
    assert len(said.track_logits) == 1
    assert said.track_logits[0].shape == (5, model.config.mask_size, model.config.mask_size)
    assert torch.isfinite(said.track_logits[0]).all()
    assert processor.post_process(said, batch)[0].objects[0].mask(4).shape == (30, 60)
    forced = {**tensors(batch), **tensors(processor.collate(samples()))}
    with torch.no_grad():
        read = model(**forced)
    assert torch.isfinite(read.loss)
    assert (read.text_prompts is None) == (mode == "sa2va")
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    model, processor = load(tmp_path, device="cpu")
    again = model.generate(**processor(**inputs), max_new_tokens=3)
    assert torch.equal(again.sequences, said.sequences)
    torch.testing.assert_close(again.track_logits[0], said.track_logits[0], **CLOSE)


def objective_with_lora(model, processor, folder):
    """Phase 3 with every decoder free, and the model's adapters."""
    free = ["decoupling", "segmenter.visual_decoder", "fusion"]
    if model.segmenter.text_decoder is not None:
        free.append("segmenter.text_decoder")
    arguments = DeSa2VATrainingArguments(
        output_dir=str(folder), phase="fusion", lora_rank=4, lora_alpha=8, use_cpu=True, trainable=free
    )
    free_parameters(model, tuple(free))
    has_text = model.config.prompt_mode == "desa2va"
    reader = LabelReader(model, processor.tokenizer) if has_text else None
    attach_lora(model, arguments)
    loss = MaskLossArguments(mask_target_size=32)
    return build_objective(model, arguments, loss, processor, reader).train()


@pytest.mark.parametrize(("sam", "mode"), SAM_AND_MODE)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_step_reaches_every_part_that_learns(make_backbone, backbone, sam, mode, tmp_path):
    """A part without gradient stays as it began, and no loss tells."""
    model, processor = make_backbone(backbone, sam, prompt_mode=mode)
    objective = objective_with_lora(model, processor, tmp_path)
    sum(objective(**processor.collate(samples()))["terms"].values()).backward()
    moved = {name for name, weight in model.named_parameters() if weight.grad is not None and weight.grad.any()}
    layers = model.mllm.model.language_model.layers
    for number in range(len(layers)):
        adapted = [name for name in moved if f"layers.{number}." in name and "lora_B" in name]
        assert any(".mlp.down_proj" in name for name in adapted)
        assert any("attn." in name for name in adapted)
    wanted = ["decoupling.visual.", "segmenter.visual_decoder.transformer.", "trainable_tokens_delta"]
    if mode == "desa2va":
        wanted += ["decoupling.text.", "segmenter.text_decoder.transformer.", "fusion."]
    assert [part for part in wanted if not any(part in name for name in moved)] == []
    assert not [name for name in moved if name.startswith(("segmenter.sam.", "decoupling.label"))]


@pytest.mark.parametrize("backbone", FAMILIES)
def test_the_loss_falls_in_twenty_steps(make_backbone, backbone, tmp_path):
    model, processor = make_backbone(backbone)
    objective = objective_with_lora(model, processor, tmp_path)
    batch = processor.collate(samples(1))
    optimizer = torch.optim.AdamW([p for p in objective.parameters() if p.requires_grad], lr=3e-3)
    history = []
    for _ in range(20):
        loss = sum(objective(**batch)["terms"].values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert np.mean(history[-3:]) < 0.9 * history[0]
