"""QLoRA: four bits while it learns, and a model whose weights never were rounded to them."""

import json

import pytest
import torch

import desa2va
from desa2va.training.checkpoints import OBJECTIVE_FILE
from desa2va.training.stage_model import start_model
from desa2va.training.state_file import read_state
from desa2va.training.train import run_stage

CONFIG = {
    "init_from": "desa2va-tiny",
    "model": {"quantization": "nf4"},
    "mask_loss": {"mask_target_size": 32},
    "data": {"options": {"conversations": 2, "kinds": {"attribute": 1.0}}},
    "training": {
        "phase": "fusion",
        "language_model": "lora",
        "lora_rank": 4,
        "lora_dropout": 0.05,
        "weights": {"language": 1.0, "visual_mask": 1.0, "fused_mask": 1.0, "text_mask": 0.5},
        "max_steps": 2,
        "save_steps": 1,
        "per_device_train_batch_size": 2,
        "gradient_checkpointing": True,
        "use_cpu": True,
        "disable_tqdm": True,
    },
}


def test_four_bits_of_nothing_are_refused():
    with pytest.raises(ValueError, match="model.quantization say how stored weights are read: name them as init_from"):
        start_model({"model": {"quantization": "nf4"}})


def test_a_stage_learns_on_four_bits_and_leaves_none(tmp_path, shipped):
    """Merged into four bits, the language model would be saved rounded; only LoRA, rows and heads may have moved."""
    pytest.importorskip("bitsandbytes")
    run_stage({**CONFIG, "output_dir": str(tmp_path)})
    stored = read_state(tmp_path / "checkpoint-2" / OBJECTIVE_FILE)
    assert any("lora_A" in name for name in stored)
    assert not [name for name in stored if "base_layer" in name]  # neither codes nor their scales
    model, _ = desa2va.load(tmp_path, device="cpu")
    assert not getattr(model, "is_quantized", False)
    assert "quantization_config" not in json.loads((tmp_path / "config.json").read_text())
    before, after = shipped[0].state_dict(), model.state_dict()
    for name in ("mllm.model.language_model.layers.0.self_attn.q_proj.weight", "decoupling.visual.layers.0.weight"):
        moved = (after[name] - before[name]).abs().max()
        assert 0 < moved < 1e-2, name  # a step or two of the rate; a rounding to four bits is ten times that
    assert all(torch.equal(after[name], value) for name, value in before.items() if "vision_tower" in name)
    adapted, _ = desa2va.load(tmp_path / "adapter", device="cpu")
    weights = adapted.state_dict()
    assert all(torch.allclose(weights[name], value, atol=1e-6) for name, value in after.items())


def test_an_interrupted_stage_goes_on(tmp_path):
    """Scales of four-bit weights are in every state dict, and were unknown weights to the one that resumed."""
    pytest.importorskip("bitsandbytes")
    config = {**CONFIG, "output_dir": str(tmp_path), "training": {**CONFIG["training"], "max_steps": 1}}
    run_stage(config)
    (tmp_path / "stage.json").unlink()
    run_stage({**config, "training": CONFIG["training"]})
    assert json.loads((tmp_path / "stage.json").read_text())["steps"] == 2
