"""A recipe from start to end: what a stage hands to the next one."""

import json

import pytest
import torch

from desa2va.hub import load
from desa2va.training.stage_model import trained_reprompts
from desa2va.training.train import run_recipe

STEP = {
    "max_steps": 1,
    "per_device_train_batch_size": 2,
    "language_model": "frozen",
    "save_strategy": "no",
    "use_cpu": True,
    "disable_tqdm": True,
}


def recipe(folder, **fusion):
    stages = [
        {"name": "two", "training": {"phase": "decoupling"}},
        {"name": "three", "training": {"phase": "fusion"}, **fusion},
    ]
    return {"output_dir": str(folder), "init_from": "desa2va-tiny", "training": STEP, "stages": stages}


def test_a_model_re_prompts_only_where_phase_three_has_trained_it(tmp_path):
    last = run_recipe(recipe(tmp_path))
    used = {name: json.loads((tmp_path / name / "config.json").read_text())["num_reprompts"] for name in ("two", last)}
    assert used == {"two": 0, last: 1}


@pytest.mark.parametrize(
    ("phase", "before", "after"),
    [("decoupling", 1, 0), ("fusion", 0, 1), ("fusion", 2, 2), ("text_pretraining", 1, 1)],
)
def test_re_prompts_by_phase(phase, before, after):
    assert trained_reprompts(phase, before) == after


def test_a_number_in_the_configuration_is_obeyed(tmp_path):
    last = run_recipe(recipe(tmp_path, model={"num_reprompts": 0}))
    assert json.loads((last / "config.json").read_text())["num_reprompts"] == 0


def test_start_values_are_computed_for_the_projections_that_will_learn(tmp_path):
    """A stage that narrows W_l whitened the old one, and trained a fresh one that never was."""
    config = {
        "output_dir": str(tmp_path),
        "init_from": "desa2va-tiny",
        "model": {"projection_rank": 8},
        "training": {**STEP, "phase": "text_pretraining", "warm_start": ["whiten_labels"], "learning_rate": 0.0},
    }
    model, _ = load(run_recipe(config))
    outer = model.decoupling.label.layers[-1].weight
    torch.testing.assert_close(outer.T @ outer, torch.eye(8), rtol=0, atol=1e-5)
