"""Grids resume, match training time, and report what their runs say."""

import json
from dataclasses import replace

import pytest
import yaml

from desa2va.eval.ablations import schedule
from desa2va.eval.ablations.ablate import newest_finished, report
from desa2va.eval.ablations.plan import read_plan
from desa2va.eval.ablations.runs import RESULT_FILE, execute
from desa2va.eval.ablations.schedule import Grid, run_grids
from desa2va.eval.ablations.table import markdown, summarise
from desa2va.training.method_version import METHOD_VERSION

SECONDS_PER_STEP = {"a": 2.0, "b": 1.0}
SCORES = {("a", 0): 0.70, ("a", 1): 0.74, ("b", 0): 0.60, ("b", 1): 0.66}


@pytest.fixture
def trained(monkeypatch):
    """Replaces training by made-up results; returns the runs in the order they were made."""
    done = []

    def execute(run, keep_weights=False):
        if run.finished:
            return run.place
        name = run.config["model"]["fusion"]
        steps, seed = run.config["training"]["max_steps"], run.config["seed"]
        arm = {"gate": "a", "mean": "b"}[name]
        run.place.mkdir(parents=True)
        content = {
            "report": {"ciou": SCORES[arm, seed], "ciou_se": 0.01},
            "curves": [{"step": step, "loss": 1.0, "fused_iou": step / 100} for step in (10, 20)],
            "provenance": {"steps": steps, "cpu_seconds": steps * SECONDS_PER_STEP[arm], "warnings": []},
        }
        (run.place / RESULT_FILE).write_text(json.dumps(content))
        done.append((arm, seed, steps))
        return run.place

    monkeypatch.setattr(schedule, "execute", execute)
    return done


@pytest.fixture
def grid(tmp_path):
    arms = {
        "a": {"model": {"fusion": "gate"}},
        "b": {"model": {"fusion": "mean"}},
        "b_time": {"like": "b", "equal_time": "a", "title": "b, equal time"},
    }
    plan = {"title": "T", "reference": "b", "arms": arms, "seeds": [0, 1], "settings": {"training": {"max_steps": 50}}}
    path = tmp_path / "p.yaml"
    path.write_text(yaml.safe_dump(plan))
    start = tmp_path / "recipe" / "text_pretraining"
    start.mkdir(parents=True)
    (start / "config.json").write_text("{}")
    (tmp_path / "out").mkdir()
    return Grid(read_plan(str(path)), tmp_path / "out", tmp_path / "recipe")


def test_equal_time_gives_the_cheaper_arm_more_steps_and_each_run_happens_once(grid, trained):
    run_grids([grid])
    assert trained == [("a", 0, 50), ("b", 0, 50), ("b", 0, 100), ("a", 1, 50), ("b", 1, 50), ("b", 1, 100)]
    run_grids([grid])
    assert len(trained) == 6


def test_an_interrupted_grid_goes_on_where_it_stopped(grid, trained, monkeypatch):
    whole = schedule.execute

    def interrupted(run, keep_weights):
        if len(trained) == 4:
            raise KeyboardInterrupt
        return whole(run, keep_weights)

    monkeypatch.setattr(schedule, "execute", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_grids([grid])
    monkeypatch.setattr(schedule, "execute", whole)
    run_grids([grid])
    assert len(trained) == 6
    assert len(set(trained)) == 6


def test_the_time_budget_is_measured_once(grid, trained, monkeypatch):
    """A second measurement would differ by noise and give a half-finished grid arms of another length."""
    run_grids([grid])
    monkeypatch.setitem(SECONDS_PER_STEP, "b", 1.3)
    assert grid.run(grid.plan.arms["b_time"], 1).config["training"]["max_steps"] == 100


def test_the_terms_of_another_version_are_trained_anew_and_their_time_is_measured_anew(grid, trained, monkeypatch):
    """A run named by its configuration alone outlived the loss it was trained with, and so did the time it took."""
    run_grids([grid])
    monkeypatch.setitem(SECONDS_PER_STEP, "a", 4.0)
    later = Grid(grid.plan, grid.folder, grid.recipe_dir, method_version=METHOD_VERSION + 1)
    run_grids([later])
    assert trained[6:9] == [("a", 0, 50), ("b", 0, 50), ("b", 0, 200)]
    assert len(trained) == 12


def test_a_report_finds_what_was_run_with_earlier_terms_and_says_so(grid, trained):
    """Tables of a page would end with the first change of any term."""
    earlier = Grid(grid.plan, grid.folder, grid.recipe_dir, method_version=METHOD_VERSION - 1)
    run_grids([earlier])
    found = newest_finished(grid)
    assert found.method_version == METHOD_VERSION - 1
    assert f"version {METHOD_VERSION - 1} of the training terms" in report(found)
    run_grids([grid])
    assert newest_finished(grid).method_version == METHOD_VERSION
    assert "version" not in report(grid)


def test_terms_that_are_no_more_are_not_trained_under_their_old_name(grid):
    run = replace(grid.run(grid.plan.arms["a"], 0), method_version=METHOD_VERSION - 1)
    with pytest.raises(ValueError, match="can not be trained any more"):
        execute(run)


def test_differences_are_paired_by_seed(grid, trained):
    run_grids([grid])
    rows = {row["name"]: row for row in summarise(grid)["rows"]}
    assert rows["a"]["values"]["ciou"]["mean"] == pytest.approx(0.72)
    assert rows["a"]["difference"]["mean"] == pytest.approx(0.09)
    assert rows["a"]["difference"]["se"] == pytest.approx(0.01)  # gaps .10 and .08: deviation .0141, over root 2
    assert rows["b"]["difference"] is None


def test_a_single_seed_has_the_error_over_scenes(grid, trained):
    grid.seeds = (0,)
    run_grids([grid])
    row = summarise(grid)["rows"][0]
    assert row["difference"]["se"] == pytest.approx(0.01 * 2**0.5)
    assert row["values"]["ciou"]["sd"] is None


def test_a_table_has_a_row_for_every_arm_and_says_what_is_missing(grid, trained):
    table = markdown(summarise(grid))
    assert table.count("\n") == 5
    assert "| - |" in table


def test_a_column_can_show_the_end_of_the_training_log(grid, trained):
    plan = replace(grid.plan, metrics={"ciou": "cIoU", "last.fused_iou": "trained"})
    grid = Grid(plan, grid.folder, grid.recipe_dir)
    run_grids([grid])
    assert [row["values"]["last.fused_iou"]["mean"] for row in summarise(grid)["rows"]] == [0.2, 0.2, 0.2]
    assert "0.200 ± 0.000" in markdown(summarise(grid))


def test_a_report_writes_table_figures_and_picture(grid, trained):
    pytest.importorskip("matplotlib")
    run_grids([grid])
    assert "0.720" in report(grid)
    assert {path.suffix for path in grid.folder.glob("p.*")} == {".json", ".md", ".png"}
    assert json.loads((grid.folder / "p.json").read_text())["rows"][0]["steps"] == 50


def test_nothing_to_report_is_one_error(grid):
    with pytest.raises(ValueError, match="no run of plan 'p' is finished"):
        report(grid)


def test_a_start_that_the_recipe_does_not_have_is_named_before_anything_is_trained(grid, trained):
    grid.plan.arms["a"].__dict__["start_from"] = "nowhere"
    with pytest.raises(ValueError, match="nowhere"):
        run_grids([grid])
    assert trained == []
