"""Published weights by their Hub id, against a server on the loopback address."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.desa2va.hub_server import Hub, Repository
from tests.desa2va.test_hub_protocol import run
from tests.modeling_desa2va.conversion import published

SA2VA = "ByteDance/Sa2VA-fixture"


def upload(hub, name, folder, number):
    """A commit that holds the files of `folder`, and one that nobody may read."""
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    files["modeling_sa2va_chat.py"] = b"raise SystemExit('remote code was run')"
    repository = hub.repositories.setdefault(name, Repository())
    repository.commits.append((number, files))
    repository.large |= {file for file in files if file.endswith(".safetensors")}


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """`(what the client saw online, what it saw offline, the server)`."""
    folder = tmp_path_factory.mktemp("published")
    native = published.write_sa2va(folder / "sa2va", "Sa2VA-1B", shards=2)
    published.write_internvl(folder / "mllm")
    published.write_sam_folder(folder / "sam2")
    with Hub() as hub:
        upload(hub, SA2VA, folder / "sa2va", "1" * 40)
        for path in (folder / "sa2va").glob("*.safetensors"):
            tensors = {name: value + 1 if "text_hidden" in name else value for name, value in load_file(path).items()}
            save_file(tensors, path, metadata={"format": "pt"})
        upload(hub, SA2VA, folder / "sa2va", "2" * 40)
        upload(hub, "OpenGVLab/fixture", folder / "mllm", "3" * 40)
        upload(hub, "facebook/fixture", folder / "sam2", "4" * 40)
        hub.repositories["ByteDance/gated"] = Repository(gated=True)
        hub.break_after = 300_000
        home = tmp_path_factory.mktemp("home")
        online = run("published", hub, folder, home)
        asked = len(hub.requests)
        offline = run("published offline", hub, folder, home)
        assert len(hub.requests) == asked
    return online, offline, hub, native.decoupling.visual.layers[0].weight.detach()


def test_a_published_sa2va_is_read_by_its_id_and_revision(session):
    """The newest and an older one; `sam2` by its own id, for which the Sa2VA's revision does not hold."""
    seen, _, _, weight = session
    assert seen["older"][0] == pytest.approx(float(weight.double().sum()), rel=1e-4)
    newest = float((weight.bfloat16() + torch.ones((), dtype=torch.bfloat16)).double().sum())
    assert seen["mapped"][0] == pytest.approx(newest, rel=1e-4)
    assert seen["mapped"][0] != pytest.approx(seen["older"][0], rel=1e-2)
    assert seen["mapped"][2] == "memory"
    assert seen["with sam2"][0] == seen["mapped"][0]
    assert seen["with sam2"][1] != pytest.approx(seen["mapped"][1], abs=1e-3)
    assert seen["with sam2"][2] == "consistent"
    assert len(seen["pair"]) == 3


def test_the_cache_is_enough_offline(session):
    """Newest, older revision and SAM-2, and the server is not asked (see the fixture)."""
    seen, offline, _, _ = session
    assert offline == {name: seen[name] for name in offline}


def test_a_shard_that_broke_off_goes_on_and_code_is_not_fetched(session):
    """From where it ended; a published repository's Python files are left where they are."""
    requests = session[2].requests
    ranges = [asked for _, path, asked in requests if path.endswith(".safetensors") and asked]
    assert ranges
    assert int(ranges[0].removeprefix("bytes=").split("-")[0]) > 0
    assert not [path for _, path, _ in requests if path.endswith(".py")]


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
def test_refusals_are_one_clear_sentence(session, case, sentence):
    assert sentence in session[0][case]
    assert "\n" not in session[0][case]
