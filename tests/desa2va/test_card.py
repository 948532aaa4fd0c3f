"""The model card is made of measured things only."""

import json
import shutil

import pytest
import yaml
from huggingface_hub import ModelCard

from desa2va.card import MARK, read_metadata, render, write_adapter_card, write_card


@pytest.fixture
def folder(saved_model, tmp_path):
    target = tmp_path / "model"
    shutil.copytree(saved_model, target)
    return target


def test_card_says_when_nothing_was_measured(folder):
    """A card must not claim a training or a score that no file proves."""
    text = render(folder)
    assert "No `training_summary.json`" in text
    assert "Not evaluated" in text
    assert "2506.22880" in text
    assert text.startswith("---\nlicense: other\n")
    assert "Apache-2.0" not in text  # it was said of every model, one fine-tuned from Sa2VA too


def test_card_shows_parameters_recipe_curves_and_scores(folder):
    """Every figure of the two JSON files and every picture must reach the page."""
    summary = {
        "command": "desa2va train toy",
        "seeds": [3],
        "phases": [{"phase": "fusion", "steps": 12}],
        "versions": {},
    }
    scores = {"ciou": 0.81234, "level": "easy", "split": "test", "by_kind": {"relation": {"ciou": 0.625, "n": 12345}}}
    (folder / "training_summary.json").write_text(json.dumps(summary))
    (folder / "evaluation.json").write_text(json.dumps(scores))
    (folder / "curves.png").write_bytes(b"")
    text = render(folder, "toy")
    assert "# toy" in text
    for part in (
        "desa2va train toy",
        "| fusion | 12 |",
        "![curves.png](curves.png)",
        "0.812",
        "| relation | 0.625 | 12,345 |",
    ):
        assert part in text
    assert "### easy test" in text


def test_card_counts_the_weights_in_the_files(folder):
    """The number of parameters comes from the safetensors headers, not from a sentence that goes stale."""
    from safetensors.numpy import load_file

    count = sum(array.size for array in load_file(folder / "model.safetensors").values())
    assert f"{count:,} (F32" in render(folder)


def test_a_hand_written_page_is_left_alone(folder):
    """A save must not destroy what somebody wrote; its own page it refreshes."""
    page = folder / "README.md"
    assert MARK in page.read_text()
    assert write_card(folder) == page
    page.write_text("# My words\n")
    assert write_card(folder) is None
    assert page.read_text() == "# My words\n"


def test_several_reports_get_a_section_each(folder):
    """`evaluation.json` may hold one report per level."""
    (folder / "evaluation.json").write_text(json.dumps({"easy": {"ciou": 0.5}, "standard": {"ciou": 0.4}}))
    text = render(folder)
    assert "### easy" in text
    assert "### standard" in text


def test_a_folder_without_configuration_is_an_error(tmp_path):
    """A card of nothing would be an empty page."""
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        render(tmp_path)


def test_the_hub_reads_everything_it_finds_models_by(folder):
    """Scores that are only text on the page are on no leaderboard."""
    (folder / "training_summary.json").write_text(json.dumps({"data": ["refshapes"], "base_models": ["owner/base"]}))
    scores = {"standard test": {"ciou": 0.5, "giou": 0.25, "level": "standard", "split": "test"}}
    (folder / "evaluation.json").write_text(json.dumps(scores))
    data = ModelCard(render(folder, "toy")).data
    assert (data.pipeline_tag, data.library_name, data.license) == ("image-segmentation", "transformers", "other")
    assert (data.language, data.datasets, data.base_model) == (["en"], ["refshapes"], ["owner/base"])
    found = {(result.dataset_name, result.metric_type): result.metric_value for result in data.eval_results}
    assert found == {("standard test", "ciou"): 0.5, ("standard test", "giou"): 0.25}


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ({"license": "mit", "base_model": "a/b"}, ("mit", ["a/b"])),
        ({"license": "other", "license_name": "qwen-research"}, ("other", None)),
        (None, (None, None)),
    ],
)
def test_an_adapters_card_states_what_its_base_models_card_states(stated, expected, tmp_path):
    """It said Apache-2.0 of whatever it had been trained on."""
    base, folder = tmp_path / "base", tmp_path / "adapter"
    base.mkdir()
    folder.mkdir()
    if stated is not None:
        (base / "README.md").write_text(f"---\n{yaml.safe_dump(stated)}---\n# base\n", encoding="utf-8")
    write_adapter_card(folder, str(base), read_metadata(base))
    text = (folder / "README.md").read_text(encoding="utf-8")
    found = ModelCard(text).data
    assert (found.license, found.base_model) == expected
    assert ("states none" in text) == (stated is None)
    assert stated is None or f"`{stated.get('license_name', stated['license'])}`, as the card" in text
    write_adapter_card(folder, "owner/name", read_metadata(tmp_path / "nowhere"))
    found = ModelCard((folder / "README.md").read_text(encoding="utf-8")).data
    assert (found.license, found.base_model) == (None, ["owner/name"])
