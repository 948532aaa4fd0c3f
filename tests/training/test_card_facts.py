"""The card of a trained model: what it was made of and how, and nothing that concerns nobody else."""

import socket
import sys
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard

from desa2va.hub import export_model
from desa2va.training.card_facts import launch_line, public, public_yaml
from desa2va.training.train import run_recipe

STAGES = [("two", "decoupling"), ("three", "fusion")]
STEP = {
    "language_model": "frozen",
    "max_steps": 1,
    "per_device_train_batch_size": 2,
    "save_strategy": "no",
    "use_cpu": True,
    "disable_tqdm": True,
    "hub_token": "hf_secret",
}


def test_a_finished_recipe_has_a_card_of_its_own(tmp_path, monkeypatch):
    """Its page was called `.unfinished` and said that nothing was known of the training."""
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "bin" / "desa2va"), "train", f"{tmp_path}/mine.yaml", "seed=3"])
    config = {
        "output_dir": str(tmp_path / "runs"),
        "init_from": "desa2va-tiny",
        "seed": 3,
        "data": {
            "options": {"conversations": 1},
            "validation": {"dataset": "refshapes", "options": {"length": 2, "conversations": 1}},
        },
        "training": STEP,
        "stages": [{"name": name, "training": {"phase": phase}} for name, phase in STAGES],
    }
    folder = export_model(tmp_path / "exported", run_recipe(config))
    for place in (tmp_path / "runs" / "three", folder):
        text = (place / "README.md").read_text()
        card = ModelCard(text)
        card.data.to_yaml()
        assert (card.data.license, card.data.datasets) == ("apache-2.0", ["refshapes"])
        assert "# three" in text or "# exported" in text
        assert "desa2va train mine.yaml seed=3" in text
        assert "| three | refshapes | validation | 2 |" in text
        assert "| fused iou |" in text or "| fused_iou |" in text
        blocks = [yaml.safe_load(part.split("```")[0]) for part in text.split("```yaml\n")[1:]]
        assert [(block["name"], block["training"]["phase"]) for block in blocks[-2:]] == STAGES
        private = [str(tmp_path), str(Path.home()) + "/", "hf_secret", socket.gethostname()]
        assert not [word for word in private if word in text]
        assert not [word for word in private if word in (place / "training_summary.json").read_text()]


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("/home/me/data/x.json", "x.json"),
        ("data.dataset=/home/me/photos", "data.dataset=photos"),
        ("~/runs/x", "x"),
        ("../runs/x", "x"),
        ("training.hub_token=abc", "training.hub_token=..."),
        ("owner/name", "owner/name"),
        ("training.max_steps=3", "training.max_steps=3"),
    ],
)
def test_a_word_without_what_is_private(word, shown):
    assert public(word) == shown


def test_a_secret_behind_its_name_is_hidden(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/opt/bin/desa2va", "train", "x.yaml", "--token", "abc"])
    assert launch_line() == "desa2va train x.yaml --token ..."
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert launch_line().startswith("accelerate launch --num_processes 4 -m desa2va train x.yaml")
    text = public_yaml({"a": ["/x/y", {"hub_token": "abc", "max_tokens": 3}]})
    assert yaml.safe_load(text) == {"a": ["y", {"hub_token": "...", "max_tokens": 3}]}
