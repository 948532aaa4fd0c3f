"""Models that peft has wrapped."""

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model

import desa2va

PICTURE = np.random.default_rng(0).integers(0, 255, (40, 64, 3), np.uint8)


def logits(model, inputs):
    return torch.stack(model.generate(**inputs, max_new_tokens=4).track_logits)


@pytest.mark.parametrize("task_type", ["CAUSAL_LM", None])
def test_lora_around_the_whole_model(task_type, processor, scenes, tmp_path):
    """`task_type="CAUSAL_LM"` was an AttributeError; what is loaded and merged must be what was trained."""
    model, _ = desa2va.load()
    inputs = processor(images=PICTURE, text="the star", task="segment")
    plain = logits(model, inputs)
    wrapped = get_peft_model(model, LoraConfig(task_type=task_type, target_modules=["q_proj", "v_proj"], r=2)).eval()
    torch.manual_seed(0)
    for name, weight in wrapped.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.05)
    adapted = logits(wrapped, inputs)
    assert not torch.allclose(adapted, plain, atol=0.1)
    with wrapped.disable_adapter():
        assert torch.equal(logits(wrapped, inputs), plain)
    batch = {name: value for name, value in processor.collate(scenes[:1]).items() if isinstance(value, torch.Tensor)}
    assert wrapped(**batch).loss.requires_grad
    wrapped.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(desa2va.load()[0], tmp_path).eval()
    assert torch.equal(logits(again, inputs), adapted)
    torch.testing.assert_close(logits(again.merge_and_unload(), inputs), adapted, rtol=1e-2, atol=2e-2)
