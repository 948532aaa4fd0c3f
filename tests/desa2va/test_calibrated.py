"""`desa2va calibrate` from answers to a configuration: of a model, of its copies, of an adapter."""

import json
import os
import shutil

import pytest

import desa2va
from desa2va.adapters import lora_config, with_adapter
from desa2va.calibrated import write_fields
from desa2va.cli import main
from desa2va.eval import calibration
from tests.eval.test_calibration import observed


@pytest.fixture
def answered(monkeypatch):
    """The command meets answers that are known."""
    monkeypatch.setattr(calibration, "observe", lambda model, processor, asked: observed())


def test_the_command_writes_the_configuration(answered, saved_model, tmp_path, capsys):
    """The model's own folder, a copy, its export: all hold the calibration, and the rest of the file is as it was."""
    folder = tmp_path / "mine"
    shutil.copytree(saved_model, folder)
    before = json.loads((folder / "config.json").read_text())
    assert main(["calibrate", "refshapes", "--model", str(folder), "--json", str(tmp_path / "figures.json")]) == 0
    after = json.loads((folder / "config.json").read_text())
    fitted = after.pop("target_calibration")
    before.pop("target_calibration", None)
    assert after == before
    assert json.loads((tmp_path / "figures.json").read_text())["fields"]["target_calibration"] == fitted
    assert "chosen" in capsys.readouterr().out
    assert main(["export", str(tmp_path / "export"), "--model", str(folder)]) == 0
    assert main(["calibrate", "refshapes", "--model", str(saved_model), "--out", str(tmp_path / "copy")]) == 0
    for name in ("mine", "export", "copy"):
        model, _ = desa2va.load(tmp_path / name, device="cpu")
        assert model.config.target_calibration == pytest.approx(fitted)
        assert model.mask_options().target_threshold == fitted["threshold"]


def test_the_shipped_model_is_not_written_into(answered, capsys):
    assert main(["calibrate", "refshapes"]) == 2
    assert "--out DIR" in capsys.readouterr().err


def test_a_target_is_looked_at_before_the_work(monkeypatch, saved_model, tmp_path, capsys):
    """The model answered a thousand requests, and then the folder was found to be full."""
    monkeypatch.setattr(calibration, "observe", lambda *_: pytest.fail("the work was begun"))
    shutil.copytree(saved_model, tmp_path / "mine")
    assert main(["calibrate", "refshapes", "--model", str(saved_model), "--out", str(tmp_path / "mine")]) == 2
    assert "is not an empty folder" in capsys.readouterr().err
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert main(["calibrate", "refshapes", "--model", str(tmp_path / "mine")]) == 2
    assert "nothing can be written in the folder" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
def test_an_adapter_keeps_it(saved_model, tmp_path):
    """An adapter has no configuration of its own: beside LoRA lie the fields that its training changed."""
    model, _ = desa2va.load(saved_model, device="cpu")
    with_adapter(model, lora_config(model, rank=2, alpha=4)).save_pretrained(tmp_path / "adapter")
    values = {"mark_probability": 1.0, "object_score": 0.5, "iou_score": 0.0, "bias": -1.0, "threshold": 0.25}
    written = write_fields(tmp_path / "adapter", {"target_calibration": values})
    assert written.name == "desa2va_fields.json"
    assert desa2va.load(tmp_path / "adapter", device="cpu")[0].config.target_calibration == values
    assert main(["merge", str(tmp_path / "adapter"), "--out", str(tmp_path / "merged")]) == 0
    assert desa2va.load(tmp_path / "merged", device="cpu")[0].config.target_calibration == values
