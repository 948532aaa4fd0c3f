"""Models that peft has wrapped."""

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model

import desa2va
from desa2va.adapters import lora_config

PICTURE = np.random.default_rng(0).integers(0, 255, (40, 64, 3), np.uint8)


def logits(model, inputs):
    return torch.stack(model.generate(**inputs, max_new_tokens=4).track_logits)


@pytest.mark.parametrize("task_type", ["CAUSAL_LM", None])
def test_lora_around_the_whole_model(task_type, scenes, tmp_path):
    """`task_type="CAUSAL_LM"` was an AttributeError; what is loaded and merged must be what was trained."""
    model, processor = desa2va.load()
    inputs = processor(images=PICTURE, text="the small green star", task="segment")
    plain = logits(model, inputs)
    wrapped = get_peft_model(model, LoraConfig(task_type=task_type, target_modules=["q_proj", "v_proj"], r=2)).eval()
    torch.manual_seed(0)
    for name, weight in wrapped.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.05)
    adapted = logits(wrapped, inputs)
    assert not torch.allclose(adapted, plain, atol=0.1)
    with wrapped.disable_adapter():
        torch.testing.assert_close(logits(wrapped, inputs), plain, rtol=1e-4, atol=1e-3)  # by transformers' decoder
    batch = {name: value for name, value in processor.collate(scenes[:1]).items() if isinstance(value, torch.Tensor)}
    assert wrapped(**batch).loss.requires_grad
    wrapped.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(desa2va.load()[0], tmp_path).eval()
    assert torch.equal(logits(again, inputs), adapted)
    torch.testing.assert_close(logits(again.merge_and_unload(), inputs), adapted, rtol=1e-2, atol=2e-2)


@pytest.mark.parametrize("family", ["internvl/qwen2", "qwen2_5_vl", "qwen3_vl", "qwen3_5"])
def test_with_adapters_off_text_alone_is_the_base_language_models(make_backbone, family):
    """Grounding must be removable: LoRA, rows of `[SEG]` and heads leave no trace in what is said about no picture."""
    model, processor = make_backbone(family)
    batch = processor(text=["find the red circle", "Sure it is a blue square"])
    words = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    # A history with the token whose row is learned.
    words["input_ids"][:, -2] = processor.seg_token_ids[0]
    with torch.no_grad():
        plain = model.mllm(**words).logits
    said = model.generate(**batch, max_new_tokens=6, output_logits=True)
    wrapped = get_peft_model(model, lora_config(model, rank=2, alpha=4)).eval()
    torch.manual_seed(0)
    moved = [weight for name, weight in wrapped.named_parameters() if "lora_B" in name or "trainable_tokens" in name]
    for weight in moved:
        torch.nn.init.normal_(weight, std=0.5)
    with torch.no_grad():
        adapted = wrapped.base_model.model.mllm(**words).logits
        with wrapped.disable_adapter():
            assert torch.equal(wrapped.base_model.model.mllm(**words).logits, plain)
            again = wrapped.generate(**batch, max_new_tokens=6, output_logits=True)
    assert moved
    assert not torch.allclose(adapted, plain, atol=0.1)
    assert torch.equal(again.sequences, said.sequences)
    assert all(map(torch.equal, again.logits, said.logits))
