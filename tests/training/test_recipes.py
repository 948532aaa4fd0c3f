"""Every shipped recipe for models with published weights: looked at in full size, and three steps of it in small."""

import json
import logging
import math

import pytest

from desa2va.cli import main
from desa2va.training import warm_start
from desa2va.training.dry_run import dry_run
from desa2va.training.recipe_file import CONFIG_FOLDER, read_config, resolve_stages
from desa2va.training.run_log import LOG_FILE
from desa2va.training.stage_inputs import STAGE_FILE
from tests.modeling_desa2va.conversion import published

RECIPES = sorted(
    str(path.relative_to(CONFIG_FOLDER).with_suffix(""))
    for pattern in ("desa2va/*", "finetune*")
    for path in CONFIG_FOLDER.glob(pattern)
)
SMALL = (
    "data.parts=[]",
    "data.dataset=refshapes",
    "training.max_steps=3",
    "training.per_device_train_batch_size=1",
    "training.gradient_accumulation_steps=1",
    "training.dataloader_num_workers=0",
    "training.logging_steps=1",
    "training.save_strategy=no",
    "training.use_cpu=true",
    "training.disable_tqdm=true",
)


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Folders of small Sa2VA in the published layouts, and of a SAM-2 of their size."""
    folder = tmp_path_factory.mktemp("published")
    published.write_sam_folder(folder / "sam2")

    def write(size):
        if not (folder / size).exists():
            published.write_sa2va(folder / size, size)
        return [f"init_from={folder / size}", f"sam2={folder / 'sam2'}", "init_desa2va=true"]

    return write


@pytest.mark.parametrize("name", RECIPES)
def test_three_steps_are_taken_without_an_error(name, start, tmp_path, monkeypatch):
    """The recipe by the command, from a start with the parts of the published ones, but for data, steps and the batch;
    every phase from what the one before it left.
    """
    monkeypatch.setattr(warm_start, "READ_AT_ONCE", 1)
    config = read_config(name)
    if config.get("model", {}).get("quantization"):
        pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    size = {"4b": "Sa2VA-4B", "8b": "Sa2VA-8B"}.get(name.rpartition("/")[2], "Sa2VA-1B")
    own = [] if config.get("init_from") == "desa2va-tiny" else start(size)
    assert main(["train", name, "--overrides", *SMALL, *own, f"output_dir={tmp_path}"]) == 0
    logs = sorted(tmp_path.rglob(LOG_FILE))
    assert len(logs) == len(config.get("stages", [1]))
    if len(logs) == 3:
        fusion = json.loads((tmp_path / "fusion" / STAGE_FILE).read_text())
        assert (fusion["steps"], fusion["config"]["training"]["phase"]) == (3, "fusion")
        assert fusion["config"]["init_from"] == str(tmp_path / "decoupling")
        assert json.loads((tmp_path / "fusion" / "config.json").read_text())["num_reprompts"] == 1
    for log in logs:
        losses = [entry["loss"] for entry in map(json.loads, log.read_text().splitlines()) if "loss" in entry]
        assert len(losses) == 3
        assert all(map(math.isfinite, losses))


@pytest.mark.parametrize("name", [name for name in RECIPES if read_config(name).get("model", {}).get("preset")])
def test_a_dry_run_tells_every_stage_in_its_full_size(name, tmp_path, caplog):
    stages = resolve_stages(read_config(name))
    with caplog.at_level(logging.INFO):
        dry_run(stages, tmp_path)
    assert caplog.text.count("first batch: ") == len(stages)
    assert f"shape of preset {stages[0]['model']['preset']}" in caplog.text
