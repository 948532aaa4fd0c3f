"""What a run logs, and where: speed and waiting, every figure of the method, and each place of `report_to`."""

import json
import sys
import time

import pytest

from desa2va.training.run_log import LOG_FILE, StepClock
from desa2va.training.train import run_stage

STEP = {
    "phase": "decoupling",
    "language_model": "frozen",
    "per_device_train_batch_size": 2,
    "logging_steps": 1,
    "use_cpu": True,
    "disable_tqdm": True,
}
WEIGHTS = {
    "language": 1.0,
    "visual_mask": 1.0,
    "fused_mask": 1.0,
    "adversarial": 0.1,
    "club": 0.1,
    "orthogonality": 0.1,
}
KINDS = {"options": {"conversations": 1, "kinds": {"attribute": 1.0}}}


def stage(folder, max_steps=2, **training):
    return {
        "init_from": "desa2va-tiny",
        "output_dir": str(folder),
        "data": KINDS,
        "mask_loss": {"mask_target_size": 32},
        "training": {**STEP, "max_steps": max_steps, "save_strategy": "no", "weights": WEIGHTS, **training},
    }


def lines(folder):
    return [json.loads(line) for line in (folder / LOG_FILE).read_text().splitlines()]


def test_every_figure_of_the_method_is_in_every_log(tmp_path):
    """The text mask's IoU was left out where its loss has no weight, as in every recipe of fine-tuning."""
    folder = run_stage(stage(tmp_path))
    entry = lines(folder)[1]  # CLUB has nothing to compare with in the first step
    terms = {f"loss_{name}" for name in (*WEIGHTS, "iou", "object_score")}
    game = {"accuracy_visual", "accuracy_text", "discriminator_loss", "mutual_information", "club_nll"}
    masks = {"text_iou", "visual_iou", "fused_iou", "gate"}
    assert (terms | game | masks | {"samples_per_second", "data_wait", "grad_norm", "learning_rate"}) <= set(entry)
    assert entry["samples_per_second"] > 0
    assert 0 < entry["data_wait"] < 1
    assert lines(folder) == json.loads((folder / "trainer_state.json").read_text())["log_history"]


def test_a_log_that_goes_on_holds_every_step_once(tmp_path):
    """Lines behind the last checkpoint were written by steps that are taken again."""
    config = stage(tmp_path, max_steps=3, save_strategy="steps", save_steps=2)
    run_stage(config)
    before = lines(tmp_path)
    (tmp_path / "stage.json").unlink()
    for path in tmp_path.glob("checkpoint-3/trainer_state.json"):
        path.unlink()
    run_stage(config)
    assert [entry["step"] for entry in lines(tmp_path)] == [entry["step"] for entry in before] == [1, 2, 3, 3]


def test_a_step_that_waits_says_so(monkeypatch):
    """Waiting is what lies around the fetch, saving and validating lie in no step; a clock made of known times."""
    clock, now = StepClock(), iter([0.0, 3.0, 4.0, 10.0, 11.0, 14.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(now))
    for _ in range(2):  # a fetch of 3 and 1, steps of 4 and 4; between them 6 of something else
        with clock.awaited():
            clock.count(4)
        clock.on_step_end()
    assert clock.figures(2) == {"samples_per_second": 2 * 8 / 8, "data_wait": 0.5}
    assert clock.figures(2) == {}


def scalars(folder):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = {}
    for path in sorted(folder.rglob("events.out.tfevents.*")):
        events = reader.EventAccumulator(str(path)).Reload()
        found |= {tag: [event.step for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    return found


def test_tensorboard_has_what_the_file_has(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    folder = run_stage(stage(tmp_path, report_to="tensorboard"))
    found = scalars(folder)
    assert found["train/gate"] == [1, 2]
    assert {f"train/{name}" for name in lines(folder)[0]} - {"train/step"} <= set(found)


def test_wandb_has_a_run_for_every_stage(tmp_path, monkeypatch):
    """A second stage of a recipe went on in the run of the first, whose steps it lies before."""
    wandb = pytest.importorskip("wandb", reason="wandb is not installed")
    for name, value in {"MODE": "offline", "DIR": str(tmp_path), "SILENT": "true"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    for name in ("first", "second"):
        run_stage(stage(tmp_path / name, report_to="wandb"))
        assert wandb.run is None
    stored = sorted(tmp_path.glob("wandb/offline-run-*/*.wandb"))
    assert len(stored) == 2
    assert b"train/data_wait" in stored[0].read_bytes()


def test_trackio_has_what_the_file_has(tmp_path, monkeypatch):
    pytest.importorskip("trackio", reason="trackio is not installed")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    for name in [name for name in sys.modules if name.split(".")[0] == "trackio"]:
        monkeypatch.delitem(sys.modules, name)  # it reads its folder when it is imported
    run_stage(stage(tmp_path / "run", report_to="trackio"))
    stored = b"".join(path.read_bytes() for path in (tmp_path / "trackio").rglob("*") if path.is_file())
    assert b"train/data_wait" in stored
