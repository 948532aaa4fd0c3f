"""A recipe from start to end: what a stage hands to the next one, and what it leaves behind.

Whole recipes run once; who needs another second stage goes on from a copy of the first.
"""

import json
import shutil

import pytest
import torch
import yaml

from desa2va.hub import load
from desa2va.training import warm_start
from desa2va.training.method_version import METHOD_VERSION
from desa2va.training.recipe_file import apply_overrides, read_config
from desa2va.training.stage_model import trained_reprompts
from desa2va.training.train import run_recipe
from tests.training.test_trainer import QUIET, WEIGHTS

STEP = {
    "max_steps": 1,
    "per_device_train_batch_size": 2,
    "language_model": "frozen",
    "save_strategy": "no",
    "use_cpu": True,
    "disable_tqdm": True,
}
DATA = {"options": {"conversations": 1}}


@pytest.fixture(scope="module", autouse=True)
def few_samples():
    """Start values of 120 samples do; how good they are is for `test_warm_start.py`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(warm_start, "READ_AT_ONCE", 2)
        yield


def recipe(folder, **fusion):
    stages = [
        {"name": "two", "training": {"phase": "decoupling"}},
        {"name": "three", "training": {"phase": "fusion"}, **fusion},
    ]
    start = {"output_dir": str(folder), "init_from": "desa2va-tiny", "data": DATA}
    return {**start, "training": STEP, "stages": stages}


def num_reprompts(folder):
    return json.loads((folder / "config.json").read_text())["num_reprompts"]


@pytest.fixture(scope="module")
def fused(tmp_path_factory):
    """The folder of `recipe`, both stages run."""
    folder = tmp_path_factory.mktemp("fused")
    run_recipe(recipe(folder))
    return folder


def test_a_model_re_prompts_only_where_phase_three_has_trained_it(fused):
    assert [num_reprompts(fused / name) for name in ("two", "three")] == [0, 1]


@pytest.mark.parametrize(
    ("phase", "before", "after"),
    [("decoupling", 1, 0), ("fusion", 0, 1), ("fusion", 2, 2), ("text_pretraining", 1, 1)],
)
def test_re_prompts_by_phase(phase, before, after):
    assert trained_reprompts(phase, before) == after


def test_a_number_in_the_configuration_is_obeyed(fused, tmp_path):
    shutil.copytree(fused / "two", tmp_path / "two")
    last = run_recipe(recipe(tmp_path, model={"num_reprompts": 0}))
    assert last == tmp_path / "three"
    assert num_reprompts(last) == 0


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


@pytest.fixture(scope="module")
def two_stages(tmp_path_factory):
    """A configuration file of two short stages."""
    common = {"max_steps": 2, "save_steps": 1, **QUIET}
    stages = [
        {
            "name": "first",
            "training": {
                "phase": "text_pretraining",
                "weights": {"label_mask": 1.0},
                "warm_start": ["fan_in", "pca", "copy_decoders", "whiten_labels"],
            },
        },
        {
            "name": "second",
            "training": {
                "phase": "decoupling",
                "language_model": "lora",
                "lora_rank": 4,
                "weights": WEIGHTS,
                "warm_start": ["fit_text", "fit_visual_to_clicks"],
            },
        },
    ]
    folder = tmp_path_factory.mktemp("recipe")
    config = {
        "output_dir": str(folder / "runs"),
        "model": {"preset": "tiny"},
        "mask_loss": {"mask_target_size": 32},
        "data": DATA,
        "training": common,
        "stages": stages,
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture(scope="module")
def finished(two_stages):
    """The folder of the last stage, not to be changed."""
    return run_recipe(read_config(str(two_stages)))


@pytest.fixture
def second_stage(two_stages, finished, tmp_path):
    """The configuration of the recipe in a folder of its own, where the first stage is finished."""
    shutil.copytree(finished.parent / "first", tmp_path / "runs" / "first")
    return {**read_config(str(two_stages)), "output_dir": str(tmp_path / "runs")}


def test_a_recipe_runs_its_stages_and_skips_finished_ones(two_stages, finished):
    """Two phases in a row; LoRA is merged, so the result loads without peft and a second call does nothing."""
    assert finished == two_stages.parent / "runs" / "second"
    report = json.loads((finished / "stage.json").read_text())
    assert report["steps"] == 2
    assert report["method_version"] == METHOD_VERSION  # or nobody could tell later which terms it learned from
    assert report["warnings"] == []
    model, processor = load(finished, device="cpu")
    assert not [name for name, _ in model.named_parameters() if "lora" in name]
    assert processor.seg_token_ids == model.config.seg_token_ids
    stamps = [(path / "model.safetensors").stat().st_mtime_ns for path in (finished.parent / "first", finished)]
    assert run_recipe(read_config(str(two_stages))) == finished
    again = [(path / "model.safetensors").stat().st_mtime_ns for path in (finished.parent / "first", finished)]
    assert again == stamps


def test_what_lora_learned_is_kept_beside_the_model(finished):
    """The merged folder is as large as the model; what was learned of it is small, and gives the same model."""
    assert (finished / "adapter" / "adapter_config.json").is_file()
    assert not (finished.parent / "first" / "adapter").exists()  # it began with nothing
    (whole, _), (adapted, processor) = load(finished, device="cpu"), load(finished / "adapter", device="cpu")
    assert adapted.config.num_reprompts == whole.config.num_reprompts
    assert processor.seg_token_ids == whole.config.seg_token_ids
    before = load(finished.parent / "first", device="cpu")[0].state_dict()
    assert [name for name, value in whole.state_dict().items() if not torch.equal(value, before[name])]
    own = adapted.state_dict()
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(own[name], value, rtol=0, atol=1e-6)


def test_no_adapter_where_more_was_learned(second_stage, caplog):
    """An adapter without the tower that moved would give another model."""
    training = second_stage["stages"][1]["training"]
    training |= {"trainable": ["decoupling", "fusion", "segmenter.sam.vision_encoder"], "warm_start": []}
    with caplog.at_level("INFO"):
        folder = run_recipe(second_stage)
    assert not (folder / "adapter").exists()
    assert "no adapter is written: segmenter.sam.vision_encoder" in caplog.text


def test_a_baseline_can_begin_from_a_decoupled_model(second_stage):
    """It reads the labels for its warm start, but has no W_l that could be corrected afterwards."""
    second_stage["stages"][1] |= {"model": {"prompt_mode": "sa2va"}}
    second_stage["stages"][1]["training"] |= {"weights": {"visual_mask": 1.0}, "warm_start": ["copy_decoders"]}
    report = json.loads((run_recipe(second_stage) / "stage.json").read_text())
    assert report["steps"] == 2
    assert "label_refit" not in report


def test_a_bare_no_on_the_command_line_means_no(tmp_path):
    """YAML reads `no` as false, which no strategy of transformers is called."""
    saving = {name: value for name, value in STEP.items() if name != "save_strategy"} | {"save_steps": 1}
    config = apply_overrides({**recipe(tmp_path), "training": saving}, ["training.save_strategy=no"])
    config["stages"] = config["stages"][:1]
    folder = run_recipe(config)
    assert not list(folder.glob("checkpoint-*"))
    assert json.loads((folder / "stage.json").read_text())["cpu_seconds"] > 0
