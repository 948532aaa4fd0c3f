"""The Hub's protocol in earnest, against a server on the loopback address."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

import desa2va
from tests.desa2va.hub_server import Hub, Repository

CLIENT = Path(__file__).with_name("hub_client.py")
ORPHAN = {"peft_type": "LORA", "base_model_name_or_path": "owner/gated", "r": 2, "target_modules": ["q_proj"]}


def run(mode, hub, folder, home):
    """Runs the client in a process of its own: the library reads its variables once, when it is imported."""
    root = Path(desa2va.__file__).resolve().parent.parent
    variables = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "PYTHONPATH": str(root)}
    variables |= {"HF_HUB_OFFLINE": str(int(mode.endswith("offline"))), "HF_HUB_DISABLE_TELEMETRY": "1"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    command = [sys.executable, str(CLIENT), mode, str(folder)]
    done = subprocess.run(command, env={**kept, **variables}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def session(saved_model, tmp_path_factory):
    """`(what the client saw online, what it saw offline, the server)`."""
    home = tmp_path_factory.mktemp("home")
    with Hub() as hub:
        hub.repositories["owner/gated"] = Repository(gated=True)
        hub.repositories["owner/orphan"] = Repository()
        files = {"adapter_config.json": json.dumps(ORPHAN).encode(), "adapter_model.safetensors": b""}
        hub.repositories["owner/orphan"].commits.append(("1" * 40, files))
        hub.break_after = 300_000
        online = run("online", hub, saved_model, home)
    return online, run("offline", hub, saved_model, home), hub


def test_what_was_pushed_is_what_is_loaded(session):
    """Model and adapter, newest and first revision; an upload that only looks complete gives other numbers."""
    seen = session[0]
    assert seen["loaded"] == pytest.approx(seen["own"], abs=1e-6)
    assert seen["newest"] == pytest.approx(seen["second"], abs=1e-6)
    assert seen["first again"] == pytest.approx(seen["own"], abs=1e-6)
    assert seen["second"][0] != pytest.approx(seen["own"][0], abs=1e-2)
    assert seen["adapter"] == pytest.approx(seen["trained"], abs=1e-4)


def test_a_download_that_broke_off_goes_on(session):
    """From where it ended, and the weights are whole."""
    ranges = [asked for _, path, asked in session[2].requests if path.endswith(".safetensors") and asked]
    assert ranges
    assert int(ranges[0].removeprefix("bytes=").split("-")[0]) > 0


def test_the_cache_is_enough_offline(session):
    """After one download nothing is asked any more."""
    online, offline, _ = session
    assert offline["newest"] == online["newest"]
    assert offline["adapter"] == online["adapter"]
    assert "owner/elsewhere" in offline["lost"]
    assert "no copy is in the cache" in offline["lost"]


@pytest.mark.parametrize(
    ("case", "sentence"),
    [
        ("bad push", "PermissionError: the Hub lets this token not write to 'owner/tiny'"),
        ("bad load", "refuses the token"),
        ("gated", "asks for your consent"),
        ("missing", "does not exist, or is private"),
        ("revision", "has no revision 'nowhere'"),
        ("lost base", "the base model of the adapter"),
    ],
)
def test_refusals_are_one_clear_sentence(session, case, sentence):
    """The library's own are a page about HTTP."""
    assert sentence in session[0][case]
    assert "\n" not in session[0][case]
    if case == "lost base":
        assert "owner/gated" in session[0][case]


def test_the_uploaded_card_is_read_by_the_hub(session):
    """What the Hub lists and finds models by."""
    files = session[2].repositories["owner/tiny"].commits[-1][1]
    card = ModelCard(files["README.md"].decode())
    assert card.data.pipeline_tag == "image-segmentation"
    assert card.data.library_name == "transformers"
    assert card.data.license == "other"  # nothing in the folder says what it was made from
    assert {"modeling_desa2va.py", "processor_config.json", "model.safetensors", "config.json"} <= set(files)
    assert session[2].repositories["owner/tiny"].large == {"model.safetensors"}
