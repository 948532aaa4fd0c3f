"""Scores while a model trains: those of `desa2va eval`, by which the best is kept and a training ends early."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import desa2va
from desa2va.cli import main
from desa2va.eval.benchmarks import refshapes_pictures
from desa2va.eval.training_scores import BenchmarkScorer, flat
from desa2va.training.train import run_stage

NAME = "refshapes-easy-validation"
NAMES = ("alone/figures-None", "together/figures-0", "together/figures-1")
STAGE = {
    "init_from": "desa2va-tiny",
    "data": {"options": {"conversations": 1}},
    "mask_loss": {"mask_target_size": 32},
    "score": {"benchmark": NAME, "limit": 4},
    "training": {
        "phase": "decoupling",
        "language_model": "frozen",
        "weights": {"visual_mask": 1.0, "fused_mask": 1.0},
        "max_steps": 6,
        "learning_rate": 0.3,  # nothing is better than before it
        "lr_scheduler_type": "constant",
        "per_device_train_batch_size": 1,
        "save_strategy": "steps",
        "save_steps": 1,
        "save_total_limit": 1,
        "eval_strategy": "steps",
        "eval_steps": 1,
        "load_best_model_at_end": True,
        "metric_for_best_model": "score_ciou",
        "early_stopping_patience": 2,
        "early_stopping_threshold": 1.0,  # nothing is better by more
        "use_cpu": True,
        "disable_tqdm": True,
    },
}


@pytest.fixture
def few(monkeypatch):
    """A benchmark of four scenes."""
    monkeypatch.setattr(refshapes_pictures, "SCENES", 4)


def test_what_a_training_logs_is_what_eval_says_of_what_it_leaves(tmp_path, few):
    """The best of the checkpoints is left, and the third was never taken: two in a row were no better."""
    folder = run_stage({**STAGE, "output_dir": str(tmp_path / "run")}, BenchmarkScorer)
    stage, state = (json.loads((folder / name).read_text()) for name in ("stage.json", "trainer_state.json"))
    scored = [entry for entry in state["log_history"] if "eval_score_ciou" in entry]
    steps = [entry["step"] for entry in scored[:-1]]
    best = max(entry["eval_score_ciou"] for entry in scored)
    assert stage["steps"] == steps[-1] < 6
    assert len({entry["eval_score_ciou"] for entry in scored}) > 1
    assert state["best_metric"] == best == stage["validation"]["eval_score_ciou"]
    assert (folder / f"checkpoint-{state['best_global_step']}").is_dir()
    assert "eval_loss" not in stage["validation"]  # there is no validation set
    told = ["eval", NAME, "--model", str(folder), "--limit", "4", "--device", "cpu", "--out", str(tmp_path / "eval")]
    assert main(told) == 0
    figures = flat(json.loads((tmp_path / "eval" / "report.json").read_text())["figures"])
    logged = {name.removeprefix("eval_score_"): value for name, value in stage["validation"].items()}
    assert {name: logged[name] for name in figures} == figures
    assert BenchmarkScorer(STAGE["score"], tmp_path).figure_names() == set(figures)


def test_two_processes_find_the_figures_of_one(tmp_path):
    program = Path(__file__).with_name("scored_processes.py")
    root = Path(desa2va.__file__).resolve().parent.parent
    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["codes"] == [0, 0, 0]
    alone, *together = (report["found"][f"{name}.json"] for name in NAMES)
    assert together == [alone, alone]
    assert alone["n"] == 6
    assert report["left"] == []


@pytest.mark.parametrize(
    ("score", "scorer", "message"),
    [
        ({"limit": 4}, BenchmarkScorer, "score needs a benchmark"),
        ({"benchmark": "nothing"}, BenchmarkScorer, "'nothing' is no benchmark"),
        ({"benchmark": "mevis-valid"}, BenchmarkScorer, "its truth is not public"),
        ({"benchmark": NAME}, None, "accelerate launch -m desa2va train"),
        ({"benchmark": NAME, "limits": 4}, BenchmarkScorer, "did you mean 'limit'"),
        ({"benchmark": NAME, "limit": 0}, BenchmarkScorer, "limit must be at least 1"),
    ],
)
def test_what_can_not_be_scored_is_told_before_the_first_step(score, scorer, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        run_stage({**STAGE, "score": score, "output_dir": str(tmp_path)}, scorer)


def test_a_figure_that_no_score_gives_is_told_before_the_first_step(tmp_path, few):
    """It was looked for after the first validation."""
    training = {**STAGE["training"], "metric_for_best_model": "score_cuoi"}
    with pytest.raises(ValueError, match="gives 'score_cuoi'; did you mean 'score_ciou'"):
        run_stage({**STAGE, "training": training, "output_dir": str(tmp_path)}, BenchmarkScorer)


def test_stopping_early_without_the_best_is_refused(tmp_path):
    training = {**STAGE["training"], "load_best_model_at_end": False}
    with pytest.raises(ValueError, match="early_stopping_patience needs load_best_model_at_end"):
        run_stage({**STAGE, "training": training, "output_dir": str(tmp_path)}, BenchmarkScorer)
