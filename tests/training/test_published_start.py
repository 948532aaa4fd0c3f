"""Published weights as the start of a training, without a converted folder between."""

import pytest
import torch

import desa2va
from desa2va.training.recipe_file import resolve_stages
from desa2va.training.stage_model import start_model
from desa2va.training.train import run_recipe
from tests.modeling_desa2va.conversion import published

STEP = {"max_steps": 1, "save_strategy": "no", "per_device_train_batch_size": 1, "use_cpu": True, "disable_tqdm": True}


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Folders of a small Sa2VA and of a SAM-2 of its size."""
    folder = tmp_path_factory.mktemp("published")
    published.write_sa2va(folder / "Sa2VA-1B", "Sa2VA-1B")
    published.write_sam_folder(folder / "sam2")
    return str(folder / "Sa2VA-1B"), str(folder / "sam2")


def test_a_stage_begins_with_published_weights_and_the_next_with_its_model(parts, tmp_path):
    """Only a converted folder was taken; a published name ended in "is no DeSa2VA model"."""
    sa2va, sam2 = parts
    stage = {"phase": "decoupling", "language_model": "lora", "lora_rank": 2, "learning_rate": 0.0}
    config = {
        "init_from": sa2va,
        "sam2": sam2,
        "init_desa2va": True,
        "output_dir": str(tmp_path),
        "mask_loss": {"mask_target_size": 32},
        "data": {"options": {"conversations": 1}},
        "training": {**STEP, **stage},
        "stages": [{"name": "one"}, {"name": "two", "training": {"phase": "fusion"}}],
    }
    model, _ = desa2va.load(run_recipe(config), device="cpu")
    assert model.config.prompt_mode == "desa2va"
    untouched = desa2va.load(sa2va, sam2=sam2, init_desa2va=True, device="cpu")[0].segmenter.sam.state_dict()
    trained = model.segmenter.sam.state_dict()
    assert all(torch.equal(trained[name], value) for name, value in untouched.items())
    assert not (tmp_path / "one" / "adapter").exists()
    assert (tmp_path / "two" / "adapter").is_dir()


def test_only_the_first_stage_reads_published_weights():
    """A later one begins with a model of ours, which has its SAM-2."""
    config = {"init_from": "a/b", "sam2": "c/d", "init_desa2va": True, "stages": [{"name": "one"}, {"name": "two"}]}
    first, second = resolve_stages(config)
    assert (first["sam2"], first["init_desa2va"]) == ("c/d", True)
    assert not second.keys() & {"sam2", "init_desa2va"}


def test_what_is_no_start_is_one_clear_error(parts, tmp_path):
    published.write_internvl(tmp_path / "mllm")
    for config, error in (
        ({"init_from": str(tmp_path / "mllm")}, "draws no masks: give a SAM-2"),
        ({"init_from": "desa2va-tiny", "sam2": parts[1]}, "is a DeSa2VA already"),
        ({"init_from": str(tmp_path / "mllm"), "sam2": parts[1], "init_desa2va": True}, "starts from a Sa2VA"),
        ({"sam2": parts[1]}, "sam2 say how stored weights are read: name them as init_from"),
    ):
        with pytest.raises(ValueError, match=error):
            start_model(config)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        start_model({"init_from": str(tmp_path / "none")})
