"""The command from end to end on an untrained model."""

import json
import sys

import pytest

from desa2va.cli import main
from desa2va.eval.probe import resampling, separability
from desa2va.eval.probe.probe import probe_model
from desa2va.eval.probe.training_log import read_training


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Rough figures do: how good they are is for the tests of each measure."""
    monkeypatch.setattr(separability, "STEPS", 20)
    monkeypatch.setattr(resampling, "RESAMPLES", 20)


@pytest.fixture(scope="module")
def folder(make_model, processor, tmp_path_factory):
    """A saved model with the log of a short training."""
    path = tmp_path_factory.mktemp("probed") / "model"
    make_model().save_pretrained(path)
    processor.save_pretrained(path)
    history = [{"step": step, "loss": 1.0, "accuracy_visual": 0.9, "accuracy_text": 0.8} for step in (10, 20)]
    (path / "trainer_state.json").write_text(json.dumps({"log_history": [*history, {"step": 20, "train_loss": 1.0}]}))
    return path


def test_same_command_same_figures(model, processor):
    """The whole report, bit for bit; a figure that cannot be repeated is none."""
    first, _ = probe_model(model, processor, scenes=20, seed=1)
    second, _ = probe_model(model, processor, scenes=20, seed=1)
    assert first == second
    other, _ = probe_model(model, processor, scenes=20, seed=2)
    assert other["probes"] != first["probes"]


def test_command_prints_writes_and_draws(folder, tmp_path, capsys):
    """Two checkpoints; against itself every difference is zero."""
    report, figure = tmp_path / "report.json", tmp_path / "figure.png"
    words = ["probe", "--model", str(folder), "--against", str(folder), "--scenes", "20", "--device", "cpu"]
    assert main([*words, "--json", str(report), "--figure", str(figure)]) == 0
    printed = capsys.readouterr().out
    assert "I(h_t; h_v), d = 3" in printed
    assert "difference: model minus against" in printed
    assert figure.read_bytes()[:4] == b"\x89PNG"
    written = json.loads(report.read_text())
    assert written["difference"]["probes"]["textual"]["color"]["h_t"] == {"balanced_accuracy": 0.0}
    assert len(written["model"]["provenance"]["weights_sha256"]) == 64
    assert written["model"]["training"]["curves"]["accuracy_visual"] == {"step": [10, 20], "value": [0.9, 0.9]}
    assert written["model"]["notes"] == []


def test_without_matplotlib_the_report_is_still_written(folder, tmp_path, monkeypatch, capsys):
    """Minutes of measuring must not be lost to a missing extra."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    report = tmp_path / "report.json"
    words = ["probe", "--model", str(folder), "--scenes", "20", "--device", "cpu", "--json", str(report)]
    assert main([*words, "--figure", str(tmp_path / "figure.png")]) == 2
    shown = capsys.readouterr()
    assert "pip install 'desa2va[eval]'" in shown.err
    assert "balanced accuracy" in shown.out
    assert report.is_file()


def test_mode_sa2va_says_what_is_missing(make_model, processor, tmp_path, capsys):
    """A baseline has something to probe, and a reader has to know what he does not see."""
    make_model(prompt_mode="sa2va").save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    words = ["probe", "--model", str(tmp_path / "model"), "--scenes", "20", "--device", "cpu"]
    assert main([*words, "--figure", str(tmp_path / "figure.svg")]) == 0
    printed = capsys.readouterr().out
    assert "note: mode sa2va has one projection" in printed
    assert "note: no curves of the discriminators" in printed
    assert "h_t; h_v" not in printed
    assert (tmp_path / "figure.svg").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--scenes", "19"], "'19' is no whole number of at least 20"),
        (["--seed", "-1"], "'-1' is no whole number of at least 0"),
        (["--json", "nowhere/report.json"], "the folder"),
        (["--figure", "picture.xyz"], "must end in one of .png"),
        (["--json", "."], "is a folder"),
        (["--model", "./nowhere"], "no folder './nowhere'"),
    ],
)
def test_wrong_requests_fail_before_anything_is_measured(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["probe", *words]) == 2
    assert message in capsys.readouterr().err


def test_a_checkpoint_from_before_decoupling_is_named(folder):
    """Its prompts are random projections, and no figure of them says anything about training."""
    (folder / "stage.json").write_text(json.dumps({"config": {"training": {"phase": "text_pretraining"}}}))
    assert read_training(folder)["phase"] == "text_pretraining"
    (folder / "stage.json").unlink()


def test_no_log_and_a_broken_log(tmp_path):
    assert read_training(tmp_path) == {"phase": None, "curves": {}}
    (tmp_path / "trainer_state.json").write_text("{")
    with pytest.raises(ValueError, match="no JSON"):
        read_training(tmp_path)
