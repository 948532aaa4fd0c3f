"""A dry run: exact parameters, arithmetic that adds up, a picture, and a refusal where it will not fit."""

import logging

import pytest
import torch
from PIL import Image

from desa2va.training import dry_run as module
from desa2va.training.recipe_file import CONFIG_FOLDER, read_config, resolve_stages
from desa2va.training.train import main

HEADS = ("decoupling.text", "decoupling.visual", "segmenter.visual_decoder", "fusion")
TINY = {
    "init_from": "desa2va-tiny",
    "output_dir": "runs/none",
    "name": "fusion",
    "data": {"options": {"conversations": 2, "kinds": {"attribute": 1.0}}},
    "mask_loss": {"mask_target_size": 32},
    "training": {"phase": "fusion", "lora_rank": 4, "per_device_train_batch_size": 2, "max_steps": 700},
}


def test_a_run_is_described_and_timed(tmp_path, caplog, shipped):
    """Nothing is left behind but the picture, and what is said to learn is what learns."""
    with caplog.at_level(logging.INFO):
        assert module.dry_run([TINY], tmp_path, steps=2)
    said = caplog.text
    lora = 4 * 4 * (4 * (128 + 128) + 3 * (128 + 384))  # rank 4, four layers, seven matrices each
    heads = sum(v.numel() for k, v in shipped[0].named_parameters() if k.startswith(HEADS))
    rows = 128 * len(shipped[0].config.seg_token_ids)
    assert f"{lora + rows + heads:,} learning x 4 bytes" in said
    assert "from desa2va-tiny" in said
    assert "seconds a step of 2 samples, measured; 700 steps take" in said
    assert [path.name for path in tmp_path.iterdir()] == ["fusion.png"]
    colours = Image.open(tmp_path / "fusion.png").convert("RGB").getcolors(2**24)
    assert (0xB0, 0x00, 0x20) in {colour for _, colour in colours}  # the answers that are learned


def test_what_does_not_fit_is_refused_with_the_arithmetic(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(module, "device_memory", lambda device: 1e6)
    with caplog.at_level(logging.INFO):
        assert not module.dry_run([TINY], tmp_path, steps=1)
    assert "does not fit" in caplog.text
    assert "learning x 4 bytes" in caplog.text
    assert "samples, measured" not in caplog.text


def test_the_command_says_it_with_its_exit_code(tmp_path, monkeypatch):
    given = ["tiny/fusion", "--dry-run", "init_from=desa2va-tiny", f"output_dir={tmp_path}"]
    given.append("training.per_device_train_batch_size=1")
    monkeypatch.setattr(module, "device_memory", lambda device: 1e6)
    assert main(given) == 1
    assert (tmp_path / "dry_run" / "fusion.png").is_file()


@pytest.mark.parametrize(
    "name", sorted(str(path.relative_to(CONFIG_FOLDER).with_suffix("")) for path in CONFIG_FOLDER.glob("*.yaml"))
)
def test_every_recipe_without_data_or_weights_is_described(name, tmp_path, caplog):
    """Neither the start nor the data of a shipped recipe need be there."""
    stages = resolve_stages(read_config(name))
    with caplog.at_level(logging.INFO):
        module.dry_run(stages[-1:], tmp_path)
    assert caplog.text.count("first batch: ") == 1


def test_a_start_that_is_not_here_needs_a_shape(tmp_path):
    with pytest.raises(ValueError, match="no folder here, so a dry run needs its shape: model.preset"):
        module.dry_run([TINY | {"init_from": "someone/else"}], tmp_path)


def test_what_is_counted_is_what_is_kept():
    """The count of activations against what autograd really keeps of the same call."""
    layers = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.GELU(), torch.nn.Linear(16, 4))
    inputs = torch.zeros(5, 8, requires_grad=True)
    kept = module_bytes(layers, inputs)
    assert kept == 4 * (5 * 8 + 5 * 16 + 5 * 16)  # input, and what enters GELU and the second layer
    assert module_bytes(layers.to("meta"), inputs.to("meta").detach().requires_grad_()) == kept


def module_bytes(layers, inputs):
    from desa2va.training.memory import saved_bytes

    return saved_bytes(layers, lambda: layers(inputs))
