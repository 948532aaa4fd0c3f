"""From a finished training to the folder that is shipped."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from desa2va.card import render
from desa2va.commands import release
from desa2va.commands.demo import held_out_score
from desa2va.eval.provenance import weights_sha256


def stage_record(phase: str, seconds: float) -> dict:
    """What training leaves about one stage."""
    return {
        "config": {"seed": 7, "training": {"phase": phase, "per_device_train_batch_size": 16}, "data": {}},
        "seconds": seconds,
        "steps": 40,
        "final": {"train_loss": 0.25},
        "processes": 1,
        "threads": 2,
        "hardware": "x86_64",
        "device": "cpu",
        "versions": {"torch": "2"},
    }


@pytest.fixture
def run(saved_model, tmp_path):
    """A training of two stages; the second one's model is the result."""
    folder = tmp_path / "run"
    history = [{"step": step, "loss": 1.0, "loss_mask": 1.0 / step} for step in (10, 20)]
    for name, phase in (("first", "grounding"), ("second", "fusion")):
        (folder / name).mkdir(parents=True)
        (folder / name / "stage.json").write_text(json.dumps(stage_record(phase, 90.0)))
        (folder / name / "trainer_state.json").write_text(json.dumps({"log_history": history}))
    shutil.copytree(saved_model, folder / "second", dirs_exist_ok=True)
    return folder


def test_release_ships_weights_scores_and_history_but_no_code(run, saved_model, tmp_path, capsys):
    """The shipped folder must be small, loadable by the package, and say how the model came about."""
    from desa2va.hub import load

    pytest.importorskip("matplotlib")
    scores, out = tmp_path / "scores.json", tmp_path / "shipped"
    report = {"ciou": 0.75, "level": "standard", "split": "test"}
    assert release.main([str(run), "--out", str(tmp_path / "unscored")]) == 0
    for scored in (run / "second", tmp_path / "unscored"):  # the shipped weights are rounded
        provenance = {"model": str(scored), "weights_sha256": weights_sha256(scored)}
        scores.write_text(json.dumps({**report, "provenance": provenance}))
        if scored == run / "second":
            with pytest.raises(ValueError, match="scores of other weights than those that are released"):
                release.main([str(run), "--out", str(out), "--evaluation", str(scores)])
            assert not out.exists()
    assert release.main([str(run), "--out", str(out), "--evaluation", str(scores)]) == 0
    assert not list(out.glob("*.py"))
    assert "auto_map" not in json.loads((out / "config.json").read_text())
    old, new = load_file(saved_model / "model.safetensors"), load_file(out / "model.safetensors")
    assert {tensor.dtype for tensor in new.values()} == {torch.bfloat16}
    assert (out / "model.safetensors").stat().st_size < 0.6 * (saved_model / "model.safetensors").stat().st_size
    assert all(torch.equal(new[name], old[name].bfloat16()) for name in old)
    summary = json.loads((out / "training_summary.json").read_text())
    assert [phase["phase"] for phase in summary["phases"]] == ["grounding", "fusion"]
    assert (summary["seeds"], summary["total minutes"]) == ([7], 3.0)
    card = (out / "README.md").read_text()
    for part in ("# desa2va-tiny", "| second | fusion | 40 |", "0.750", "![curves.png](curves.png)"):
        assert part in card
    assert str(tmp_path) not in card
    assert load(out, device="cpu")[0].dtype == torch.float32


def test_evaluations_are_named_by_level_and_split(tmp_path):
    """A second report of one level must not replace the first."""
    files = []
    for name, level in (("a", "easy"), ("b", "standard"), ("c", "easy")):
        files.append(tmp_path / f"{name}.json")
        files[-1].write_text(json.dumps({"level": level, "split": "test", "ciou": 0.5}))
    assert list(release.gather_evaluations(files)) == ["easy test", "standard test", "c"]
    assert release.gather_evaluations(files[:1])["level"] == "easy"


def test_a_run_of_a_benchmark_is_a_section_of_the_card(tmp_path):
    """Its samples would be a megabyte; its groups become one table."""
    (tmp_path / "config.json").write_text(
        json.dumps(
            {"prompt_mode": "desa2va", "mllm_config": {"model_type": "x"}, "fusion": "gate", "num_reprompts": 1}
        )
    )
    told = {"model": {"weights_sha256": "0" * 64}, "machine": {"model": str(tmp_path / "mine")}, "limit": 2}
    run = {"benchmark": "robustness-it", "protocol": "so", "n": 40, "samples": [1, 2], "provenance": told}
    grouped = {**run, "figures": {"wordings": {"agreement": 0.75, "n": 2}, "jpeg60": {"flips": 0.5, "n": 2}}}
    (tmp_path / "a.json").write_text(json.dumps(grouped))
    (tmp_path / "b.json").write_text(json.dumps({**run, "benchmark": "refcoco-unc-val", "figures": {"ciou": 0.25}}))
    found = release.gather_evaluations([tmp_path / "a.json"])
    assert list(found) == ["robustness-it"]
    assert "samples" not in found["robustness-it"]
    assert found["robustness-it"]["provenance"] == {"weights_sha256": "0" * 64, "model": "mine", "limit": 2}
    both = release.gather_evaluations([tmp_path / "a.json", tmp_path / "b.json"])
    (tmp_path / "evaluation.json").write_text(json.dumps(both))
    card = render(tmp_path)
    assert "| group | agreement | n | flips |" in card
    assert "| wordings | 0.750 | 2 | – |" in card
    assert "### refcoco-unc-val" in card
    assert "value: 0.25" in card
    (tmp_path / "processor_config.json").write_text("{}")
    save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors")
    assert "holds no score of RefShapes" in held_out_score(str(tmp_path))


@pytest.mark.parametrize("model", ["my-model", "runs/my-model", "owner/my-model"])
def test_a_card_names_the_scored_model_and_not_where_it_lay(model, tmp_path):
    file = tmp_path / "scores.json"
    for given, kept in ((str(tmp_path / "my-model"), "my-model"), (model, model)):
        file.write_text(json.dumps({"ciou": 0.5, "provenance": {"model": given}}))
        assert release.gather_evaluations([file])["provenance"]["model"] == kept


def test_an_unfinished_training_is_refused(tmp_path):
    """`stage.json` is written last; without it the model is not what the recipe promises."""
    with pytest.raises(FileNotFoundError, match=r"stage\.json"):
        release.find_stages([tmp_path])


def test_stages_keep_the_order_they_are_given_in(run):
    """The last stage is the one that is shipped."""
    names = [path.name for path in release.find_stages([run / "second", run / "first"])]
    assert names == ["second", "first"]


def test_a_continued_training_keeps_the_history_of_what_it_began_with(run, tmp_path):
    """The stages before are gone from the disk; the card must not claim that the model came from the last ones."""
    stages = release.find_stages([run])
    first = release.summarise(stages[:1], "train a", notes="One.")
    (tmp_path / "old").mkdir()
    earlier = {**first, "data": ["shapes"], "limitations": ["L."]}
    (tmp_path / "old" / "training_summary.json").write_text(json.dumps(earlier))
    both = release.summarise(stages[1:], "train b", after=tmp_path / "old", notes="Two.")
    assert [phase["stage"] for phase in both["phases"]] == ["first", "second"]
    assert (both["data"], both["total minutes"], both["notes"]) == (["refshapes", "shapes"], 3.0, "One. Two.")
    assert both["limitations"] == ["L."]  # the next release lost them
    with pytest.raises(FileNotFoundError, match=r"training_summary\.json"):
        release.summarise(stages, "train", after=tmp_path)
