"""The bench of decoupling from start to end, in steps that take seconds."""

import json
import shutil
from argparse import Namespace
from pathlib import Path

import pytest
import yaml

from desa2va.eval.ablations import runs, schedule
from desa2va.eval.ablations.ablate import run as run_plans
from desa2va.eval.ablations.plan import read_plan
from desa2va.hub import resolve
from desa2va.training.train import STAGE_FILE, run_stage

SMALL = {"kinds": {"attribute": 1.0}, "conversations": 1}
TRAINING = {"max_steps": 2, "per_device_train_batch_size": 2, "use_cpu": True, "disable_tqdm": True, "save_steps": 1}
PLAN = {
    "base": "decoupling",
    "title": "micro",
    "only": ["baseline", "all"],
    "reference": "baseline",
    "contrasts": {"all": ["baseline"]},
    "starts": [101],
    "seeds": [0],
    "scenes": 2,
    "probe": 20,
    "rates": {"factors": [1.0], "steps": 1, "scenes": 1},
    "settings": {"data": {"options": SMALL}, "training": {**TRAINING, "logging_steps": 1}},
}


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """A plan and, below `starts`, the shipped model in place of every stage that it starts from."""
    folder = tmp_path_factory.mktemp("bench")
    (folder / "micro.yaml").write_text(yaml.safe_dump(PLAN))
    plan = read_plan(str(folder / "micro.yaml"))
    for stage in {plan.start(arm) for arm in plan.arms.values()}:
        shutil.copytree(resolve("desa2va-tiny"), folder / "starts" / "101" / stage)
    return folder


def asked(folder, **others):
    options = {"plans": [str(folder / "micro.yaml")], "out": folder / "out", "recipe_dir": folder / "starts"}
    return Namespace(**{**options, "seeds": None, "jobs": 1, "report_only": False, "keep_weights": False, **others})


def test_a_grid_is_trained_scored_probed_compared_and_tidied(bench, monkeypatch):
    """From starts that are there: one of them was not, and was trained for a thousand steps in this test."""
    monkeypatch.setattr(schedule, "run_stage", lambda stage: pytest.fail(f"{stage['output_dir']} was trained"))
    [table] = run_plans(asked(bench))
    assert "| all terms − baseline | 1 |" in table
    results = sorted((bench / "out" / "runs").glob("*/result.json"))
    assert len(results) == 4  # two that choose rates, two arms
    assert all(path.stat().st_size < 60_000 for path in results)
    assert not list((bench / "out" / "runs").glob("*/model"))
    whole = [json.loads(path.read_text()) for path in results]
    probed = [result["report"]["probe"] for result in whole if result["scoring"]["probe"]]
    assert any(report["information"] for report in probed)
    assert {path.name for path in (bench / "out").iterdir()} >= {
        "rates.json",
        "micro.md",
        "micro.json",
    }
    assert run_plans(asked(bench, report_only=True)) == [table]


def test_an_interrupted_run_is_timed_by_the_steps_that_were(tmp_path):
    """A run resumed half-way had half the cost per step, and its rivals of equal time half the steps."""
    config = {
        "output_dir": str(tmp_path),
        "init_from": "desa2va-tiny",
        "data": {"options": SMALL},
        "training": {**TRAINING, "phase": "decoupling", "language_model": "frozen", "save_total_limit": None},
    }
    run_stage(config)
    whole = json.loads((tmp_path / STAGE_FILE).read_text())
    for name in (STAGE_FILE, "checkpoint-2/trainer_state.json"):
        Path(tmp_path, name).unlink()
    run_stage(config)
    resumed = json.loads((tmp_path / STAGE_FILE).read_text())
    assert (whole["timed_steps"], resumed["timed_steps"], resumed["steps"]) == (2, 1, 2)
    assert runs._whole_cpu_seconds({"cpu_seconds": 3.0, "steps": 20, "timed_steps": 5}) == 12.0
    assert runs._whole_cpu_seconds({"cpu_seconds": 0.1, "steps": 20, "timed_steps": 0}) is None
