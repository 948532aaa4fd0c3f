"""The bench of decoupling: fair arms, rates chosen for each, starts that differ, contrasts that add up."""

import json
from pathlib import Path

import pytest
import yaml

from desa2va.eval.ablations import schedule
from desa2va.eval.ablations.ablate import report
from desa2va.eval.ablations.contrasts import HARDER, contrasts_markdown, summarise_contrasts, verdict
from desa2va.eval.ablations.plan import packaged_plans, read_plan
from desa2va.eval.ablations.runs import RESULT_FILE
from desa2va.eval.ablations.schedule import Grid, prepare_starts, run_grids
from desa2va.eval.ablations.scoring import pack
from desa2va.training.arguments import DeSa2VATrainingArguments
from desa2va.training.phases import free_parameters, trainable_prefixes
from desa2va.training.recipe_file import read_config

DOCS = Path(__file__).resolve().parents[3] / "docs"
PLANS = [name for name in packaged_plans() if name.startswith("decoupling")]


def num_learning(make_model, plan, arm, tmp_path):
    """Weights that learn besides the language model's."""
    config = plan.stage(plan.arms[arm], 0)
    model = make_model(**config["model"])
    arguments = DeSa2VATrainingArguments(output_dir=str(tmp_path), use_cpu=True, **config["training"])
    free_parameters(model, trainable_prefixes(arguments))
    heads = [(name, value) for name, value in model.named_parameters() if not name.startswith("mllm.")]
    return sum(value.numel() for _, value in heads if value.requires_grad)


@pytest.mark.parametrize("name", PLANS)
def test_the_wide_baseline_has_as_many_learning_weights_as_two_decoders(name, make_model, tmp_path):
    """Else two decoders could win by their size, which is what the wide baseline is there to rule out."""
    plan = read_plan(name)
    wide, two = (num_learning(make_model, plan, arm, tmp_path) for arm in ("baseline_wide", "two_decoders"))
    assert wide == pytest.approx(two, rel=5e-4)
    if "baseline" in plan.arms:
        assert two > 1.9 * num_learning(make_model, plan, "baseline", tmp_path)


@pytest.mark.parametrize("name", PLANS)
def test_what_is_tested_as_never_seen_was_kept_from_every_stage_that_talks(name):
    plan = read_plan(name)
    held_out = plan.scoring()["held_out"]
    assert len(held_out) == 8
    encoders, talking = read_config(plan.recipe)["stages"][:3], read_config(plan.recipe)["stages"][3:]
    assert [stage["config"] for stage in encoders] == ["tiny/vision", "tiny/segmenter_images", "tiny/segmenter_joint"]
    assert [stage["data"]["options"]["held_out"] for stage in talking] == [held_out] * 5
    pointing = next(stage for stage in talking if stage.get("name") == "pointing")
    assert pointing["data"]["options"]["unasked"] == plan.scoring()["unasked"]
    assert not any(set(label.split()) & set(plan.scoring()["unasked"]) for label in held_out)


@pytest.mark.parametrize("name", ["decoupling_data5", "decoupling_data10"])
def test_fewer_pictures_are_learned_at_the_rates_that_were_chosen_with_all(name):
    kept = json.loads((DOCS / "decoupling" / "rates.json").read_text())
    base, derived = read_plan("decoupling"), read_plan(name)
    assert derived.rates is None
    for arm in derived.arms:
        factor = kept[f"decoupling/{arm}/3"]["factor"]
        for rate in ("learning_rate", "muon_learning_rate"):
            chosen = factor * base.stage(base.arms[arm], 0)["training"][rate]
            assert derived.stage(derived.arms[arm], 0)["training"][rate] == pytest.approx(chosen)


def test_a_plan_that_changes_another_keeps_the_arms_it_names():
    base, derived = read_plan("decoupling"), read_plan("decoupling_data5")
    assert set(derived.arms) < set(base.arms)
    stage = derived.stage(derived.arms["all"], 0)
    assert stage["data"]["options"]["pool"] == 0.05 * stage["training"]["max_steps"] * 4  # pictures of four requests
    assert derived.arms["all"].settings == base.arms["all"].settings
    assert {other for others in derived.contrasts.values() for other in others} <= set(derived.arms)


@pytest.fixture
def grid(tmp_path):
    arms = {
        "a": {"model": {"fusion": "gate"}, "title": "A"},
        "b": {"model": {"fusion": "mean"}, "title": "B"},
        "b_time": {"like": "b", "equal_time": "a"},
    }
    plan = {
        "title": "T",
        "reference": "b",
        "arms": arms,
        "seeds": [0, 1, 2],
        "starts": [7, 8],
        "scores": "decoupling",
        "scenes": 3,
        "rates": {"factors": [0.5, 1, 2], "steps": 5, "seed": 1000, "scenes": 2},
        "contrasts": {"a": ["b", "b_time"]},
        "metrics": {"sets.in_distribution.ciou": "cIoU"},
        "settings": {"training": {"max_steps": 50, "learning_rate": 0.01}},
    }
    path = tmp_path / "p.yaml"
    path.write_text(yaml.safe_dump(plan))
    for start in ("7", "8"):
        folder = tmp_path / "starts" / start / "text_pretraining"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
    (tmp_path / "out").mkdir()
    return Grid(read_plan(str(path)), tmp_path / "out", tmp_path / "starts")


def score_of(run):
    """Arm a is best at twice the rate, b at its own; with the seed both get better, a by twice as much."""
    gate, seed = run.config["model"]["fusion"] == "gate", run.config["seed"]
    rate = run.config["training"]["learning_rate"]
    return (0.6 if gate else 0.5) - 2 * abs(rate - (0.02 if gate else 0.01)) + (0.02 if gate else 0.01) * (seed % 1000)


@pytest.fixture
def trained(monkeypatch):
    """Replaces training by made-up results; returns the runs in the order they were made."""
    done = []

    def execute(run, keep_weights=False):
        run.place.mkdir(parents=True)
        steps, cost = run.config["training"]["max_steps"], 2.0 if run.config["model"]["fusion"] == "gate" else 1.0
        counts = [[round(1000 * score_of(run))] * 3, [1000] * 3]
        sets = {name: {"ciou": score_of(run), "counts": pack(counts)} for name in ("in_distribution", *HARDER)}
        provenance = {"steps": steps, "cpu_seconds": steps * cost, "warnings": []}
        content = {"report": {"sets": sets}, "curves": [], "provenance": provenance}
        (run.place / RESULT_FILE).write_text(json.dumps(content))
        done.append(run)
        return run.place

    monkeypatch.setattr(schedule, "execute", execute)
    return done


def test_rates_are_chosen_first_and_for_each_arm(grid, trained):
    run_grids([grid])
    deciding, rest = trained[:6], trained[6:]
    assert all(run.config["training"]["max_steps"] == 5 and run.config["seed"] == 1000 for run in deciding)
    assert all(run.scoring["split"] == "validation" and run.scoring["scenes"] == 2 for run in deciding)
    rates = {run.config["model"]["fusion"]: run.config["training"]["learning_rate"] for run in rest}
    assert rates == {"gate": 0.02, "mean": 0.01}
    assert len(rest) == 9
    run_grids([grid])
    assert len(trained) == 15


def test_equal_time_has_the_rate_and_the_cost_of_the_arm_it_is_like(grid, trained):
    run_grids([grid])
    longer = [run for run in trained if run.config["training"]["max_steps"] == 100]
    assert [run.config["training"]["learning_rate"] for run in longer] == [0.01] * 3


def test_seeds_begin_from_the_starts_in_turn_all_arms_alike(grid, trained):
    run_grids([grid])
    starts = {(run.config["seed"], run.config["init_from"]) for run in trained}
    folders = {seed: f"{7 + seed % 2}/text_pretraining" for seed in (0, 1, 2, 1000)}
    assert starts == set(folders.items())


def test_missing_starts_are_trained_each_with_its_own_seed(grid, monkeypatch):
    """From what is there: a start folder that was shipped without its own beginnings is not trained from nothing."""
    asked = []
    monkeypatch.setattr(schedule, "run_stage", asked.append)
    (grid.recipe_dir / "8" / "text_pretraining" / "config.json").unlink()
    grid.seeds = (0, 2)
    prepare_starts([grid])
    assert not asked  # even seeds begin from the other start
    grid.seeds = (0, 1)
    prepare_starts([grid])
    assert {stage["seed"] for stage in asked} == {8}
    names = [stage["output_dir"].rsplit("/", 1)[1] for stage in asked]
    assert names[0] == "vision"
    assert names[-1] == "text_pretraining"
    asked.clear()
    before = grid.recipe_dir / "8" / "grounding"
    before.mkdir()
    (before / "config.json").write_text("{}")
    prepare_starts([grid])
    assert [stage["output_dir"] for stage in asked] == [str(before.parent / "text_pretraining")]


def test_contrasts_are_paired_and_corrected(grid, trained):
    """a - b is .10, .11, .12; with equal time b has the same scores here, so both contrasts are one figure."""
    run_grids([grid])
    summary = summarise_contrasts(grid)
    assert (summary["family"], summary["comparisons"]) == (2, 14)  # six sets and the mean of five
    first = summary["rows"][0]["sets"]["dark"]
    assert first["mean"] == pytest.approx(0.11)
    assert first["holm"] == pytest.approx(2 * first["p"])
    assert summary["rows"][0]["sets"]["mean_of_harder"]["mean"] == pytest.approx(0.11)
    assert "+11.0 [" in contrasts_markdown(summary)
    assert "14 comparisons" in contrasts_markdown(summary)


@pytest.mark.parametrize(
    ("low", "high", "holm", "wanted"),
    [
        (0.002, 0.030, 0.04, "shown"),
        (-0.030, -0.002, 0.04, "shown"),
        (-0.015, 0.015, 0.06, "excluded"),
        (-0.016, 0.010, 0.06, "open"),
        (0.001, 0.010, None, "excluded"),
        (0.002, 0.040, 0.06, "open"),
    ],
)
def test_the_verdict_is_the_rule_that_was_written_before(low, high, holm, wanted):
    assert verdict({"low": low, "high": high, "holm": holm}) == wanted


def test_a_report_holds_contrasts_rates_and_their_picture(grid, trained):
    pytest.importorskip("matplotlib")
    run_grids([grid])
    text = report(grid)
    assert "| A | 0.570 | 0.580 | 0.600 | × 2 |" in text
    assert json.loads((grid.folder / "p.json").read_text())["rates"]["a"]["factor"] == 2.0
    assert (grid.folder / "p_contrasts.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"contrasts": {"a": ["c"]}}, "contrasts hold 'c'"),
        ({"rates": {"factor": [1]}}, "'factor' is unknown; did you mean 'factors'"),
        ({"scores": "all"}, "scores='all' is unknown"),
        ({"scores": "refshapes"}, "need scores=decoupling"),
        ({"base": "decoupling", "only": ["all", "al"]}, "only holds 'al'"),
    ],
)
def test_a_wrong_plan_is_one_error(grid, tmp_path, change, message):
    path = tmp_path / "p.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **change}))
    with pytest.raises(ValueError, match=message):
        read_plan(str(path))
