"""Overlays of validation samples: the same samples every time, four masks each, in the folder and in the reports."""

import numpy as np
import pytest
from PIL import Image

from desa2va.training.data.refshapes import RefShapes
from desa2va.training.overlays import LINE, SIDE, fixed_samples
from desa2va.training.train import run_stage

STAGE = {
    "init_from": "desa2va-tiny",
    "mask_loss": {"mask_target_size": 32},
    "data": {
        "options": {"conversations": 1},
        "validation": {"dataset": "refshapes", "options": {"length": 6, "conversations": 2}},
    },
    "training": {
        "phase": "decoupling",
        "language_model": "frozen",
        "weights": {"visual_mask": 1.0, "fused_mask": 1.0},
        "max_steps": 2,
        "per_device_train_batch_size": 2,
        "save_strategy": "no",
        "eval_strategy": "steps",
        "eval_steps": 1,
        "learning_rate": 0.1,
        "overlay_samples": 3,
        "use_cpu": True,
        "disable_tqdm": True,
    },
}


def test_every_validation_draws_the_same_samples(tmp_path):
    """The left column is the truth and stays, the right one is the fused mask and learns."""
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    training = {**STAGE["training"], "report_to": "tensorboard"}
    folder = run_stage({**STAGE, "training": training, "output_dir": str(tmp_path)})
    first, second = (np.asarray(Image.open(folder / "overlays" / f"step_{n}.png")) for n in (1, 2))
    assert first.shape == second.shape == (3 * (2 * LINE + SIDE), 4 * SIDE, 3)
    assert (first[:, :SIDE] == second[:, :SIDE]).all()
    assert (first[:, 3 * SIDE :] != second[:, 3 * SIDE :]).any()
    events = [EventAccumulator(str(path)).Reload() for path in folder.rglob("events.out.tfevents.*")]
    shown = [event.step for part in events if "overlays" in part.Tags()["images"] for event in part.Images("overlays")]
    assert sorted(shown)[:2] == [1, 2]  # the last one in a file of its own, since the writer was closed


def test_the_only_validation_of_a_stage_is_reported_with_its_picture(tmp_path):
    """Without `eval_strategy` the set is read once, when the steps have ended and reports were closed: the picture was
    in the folder alone.
    """
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    training = {**STAGE["training"], "report_to": "tensorboard", "eval_strategy": "no", "max_steps": 1}
    folder = run_stage({**STAGE, "training": training, "output_dir": str(tmp_path)})
    assert (folder / "overlays" / "step_1.png").is_file()
    events = [EventAccumulator(str(path)).Reload() for path in folder.rglob("events.out.tfevents.*")]
    assert [event.step for part in events if part.Tags()["images"] for event in part.Images("overlays")] == [1]


def test_samples_without_a_mask_are_passed_over():
    asked = RefShapes("validation", conversations=1, length=8, kinds={"qa_color": 1.0, "attribute": 1.0})
    found = fixed_samples(asked, 2)
    assert len(found) == 2
    assert all(sample.conversations[0].masks.any() for sample in found)
    assert fixed_samples(RefShapes("validation", conversations=1, length=4, kinds={"qa_color": 1.0}), 2) == []
