"""The Hub's protocol in earnest, against a server on the loopback address: models of ours and published ones."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file, save_file

import desa2va
from tests.desa2va.hub_server import Hub, Repository
from tests.modeling_desa2va.conversion import published

CLIENT = Path(__file__).with_name("hub_client.py")
SA2VA = "ByteDance/Sa2VA-fixture"
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


def upload(hub, name, folder, number):
    """A commit that holds the files of `folder`, and one that nobody may read."""
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    files["modeling_sa2va_chat.py"] = b"raise SystemExit('remote code was run')"
    repository = hub.repositories.setdefault(name, Repository())
    repository.commits.append((number, files))
    repository.large |= {file for file in files if file.endswith(".safetensors")}


def publish(hub, folder):
    """Two revisions of a Sa2VA, a language model and a SAM-2; the first projection of the older Sa2VA."""
    native = published.write_sa2va(folder / "sa2va", "Sa2VA-1B", shards=2)
    published.write_internvl(folder / "mllm")
    published.write_sam_folder(folder / "sam2")
    upload(hub, SA2VA, folder / "sa2va", "1" * 40)
    for path in (folder / "sa2va").glob("*.safetensors"):
        tensors = {name: value + 1 if "text_hidden" in name else value for name, value in load_file(path).items()}
        save_file(tensors, path, metadata={"format": "pt"})
    upload(hub, SA2VA, folder / "sa2va", "2" * 40)
    upload(hub, "OpenGVLab/fixture", folder / "mllm", "3" * 40)
    upload(hub, "facebook/fixture", folder / "sam2", "4" * 40)
    return native.decoupling.visual.layers[0].weight.detach()


@pytest.fixture(scope="module")
def weight_and_session(saved_model, tmp_path_factory):
    """`(weight, session)`, see `publish` and `session`; one process online and one offline for all tests."""
    home = tmp_path_factory.mktemp("home")
    with Hub() as hub:
        weight = publish(hub, tmp_path_factory.mktemp("published"))
        hub.repositories["owner/gated"] = Repository(gated=True)
        hub.repositories["ByteDance/gated"] = Repository(gated=True)
        hub.repositories["owner/orphan"] = Repository()
        files = {"adapter_config.json": json.dumps(ORPHAN).encode(), "adapter_model.safetensors": b""}
        hub.repositories["owner/orphan"].commits.append(("1" * 40, files))
        hub.break_after = {"owner": 300_000, "ByteDance": 300_000}
        online = run("online", hub, saved_model, home)
        asked = len(hub.requests)
        offline = run("offline", hub, saved_model, home)
        assert len(hub.requests) == asked
    return weight, (online, offline, hub)


@pytest.fixture
def session(weight_and_session):
    """`(what the client saw of our models online, what it saw offline, the server)`."""
    online, offline, hub = weight_and_session[1]
    return online["own"], offline["own"], hub


@pytest.fixture
def of_others(weight_and_session):
    """The same of published models."""
    online, offline, hub = weight_and_session[1]
    return online["published"], offline["published"], hub


def first_range(hub, owner):
    """Where the first download that was not asked for from its start begins, of the weights of an owner."""
    paths = (f"/{owner}/", ".safetensors")
    asked = [rows for _, path, rows in hub.requests if path.startswith(paths[0]) and path.endswith(paths[1]) and rows]
    return int(asked[0].removeprefix("bytes=").split("-")[0])


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
    assert first_range(session[2], "owner") > 0


def test_the_cache_is_enough_offline(session):
    """After one download nothing is asked any more (see the fixture)."""
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


def test_a_published_sa2va_is_read_by_its_id_and_revision(of_others, weight_and_session):
    """The newest and an older one; `sam2` by its own id, for which the Sa2VA's revision does not hold."""
    (seen, _, _), weight = of_others, weight_and_session[0]
    assert seen["older"][0] == pytest.approx(float(weight.double().sum()), rel=1e-4)
    newest = float((weight.bfloat16() + torch.ones((), dtype=torch.bfloat16)).double().sum())
    assert seen["mapped"][0] == pytest.approx(newest, rel=1e-4)
    assert seen["mapped"][0] != pytest.approx(seen["older"][0], rel=1e-2)
    assert seen["mapped"][2] == "memory"
    assert seen["with sam2"][0] == seen["mapped"][0]
    assert seen["with sam2"][1] != pytest.approx(seen["mapped"][1], abs=1e-3)
    assert seen["with sam2"][2] == "consistent"
    assert len(seen["pair"]) == 3


def test_the_cache_is_enough_for_published_models_offline(of_others):
    """Newest, older revision and SAM-2, and the server is not asked (see the fixture)."""
    seen, offline, _ = of_others
    assert offline == {name: seen[name] for name in offline}


def test_a_shard_that_broke_off_goes_on_and_code_is_not_fetched(of_others):
    """From where it ended; a published repository's Python files are left where they are."""
    assert first_range(of_others[2], "ByteDance") > 0
    paths = [path for _, path, _ in of_others[2].requests if not path.startswith("/owner/")]
    assert not [path for path in paths if path.endswith(".py")]


@pytest.mark.parametrize(
    ("case", "sentence"),
    [
        ("gated", "the Hub's 'ByteDance/gated' asks for your consent"),
        ("gated sam2", "the Hub's 'ByteDance/gated' asks for your consent"),
        ("missing", "'ByteDance/none' does not exist, or is private"),
        ("missing sam2", "'facebook/none' does not exist, or is private"),
        ("revision", "'ByteDance/Sa2VA-fixture' has no revision 'nowhere'"),
        ("alone", "draws no masks: give a SAM-2 beside it"),
    ],
)
def test_refusals_of_published_models_are_one_clear_sentence(of_others, case, sentence):
    assert sentence in of_others[0][case]
    assert "\n" not in of_others[0][case]
