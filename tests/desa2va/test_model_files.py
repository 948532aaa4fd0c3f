"""Names of models and the files behind them: one sentence that names the file, before anything large is read."""

import json
import logging
import shutil
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub import errors
from safetensors.torch import load_file, save_file

from desa2va import hub, model_files
from desa2va.cli import main


@pytest.fixture
def copy(saved_model, tmp_path):
    """A copy of the model's folder that may be damaged."""
    return shutil.copytree(saved_model, tmp_path / "model")


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-1000])


def lie(path):
    path.write_bytes((10**15).to_bytes(8, "little") + path.read_bytes()[8:])


@pytest.mark.parametrize("damage", [cut_off, lie, lambda path: path.write_bytes(b"")])
def test_damaged_weights_are_named(copy, damage):
    """A download that broke off raised `SafetensorError` without a name, which no handler knew."""
    damage(copy / "model.safetensors")
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged or cut off"):
        hub.load(copy)


@pytest.mark.parametrize("name", ["config.json", "processor_config.json", "tokenizer_config.json", "tokenizer.json"])
@pytest.mark.parametrize(("text", "reason"), [("null", "NoneType"), ("[]", "list"), ("{", "is no JSON")])
def test_files_that_hold_something_else_are_named(copy, name, text, reason):
    """`null` as a file ended in "'NoneType' object has no attribute 'get'" inside a library."""
    (copy / name).write_text(text)
    with pytest.raises(ValueError, match=rf"{name}.*{reason}"):
        hub.load(copy)


@pytest.mark.parametrize(
    ("name", "change", "what"),
    [
        ("tokenizer.json", {"model": 5}, "processor"),
        ("processor_config.json", {"image_processor": []}, "processor"),
        ("processor_config.json", {"seg_tokens": 5}, "processor"),
        ("config.json", {"mllm_config": 5}, "model"),
        ("config.json", {"sam_config": 5}, "model"),
    ],
)
def test_what_the_libraries_stumble_over_names_the_model(copy, name, change, what, capsys):
    """Values of the wrong kind drive them into any error; the command line must say whose files they are."""
    content = json.loads((copy / name).read_text())
    (copy / name).write_text(json.dumps({**content, **change}))
    assert main(["chat", str(copy / "README.md"), "what?", "--model", str(copy), "--device", "cpu"]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("desa2va chat: ")]
    assert len(lines) == 1
    assert f"the {what} in {copy} can not be read" in lines[0]


def test_weights_of_another_shape_are_named(copy, capfd):
    """transformers printed a report of forty lines and an error that says to look at it."""
    weights = load_file(copy / "model.safetensors")
    name = next(name for name in weights if name.startswith("decoupling.text") and name.endswith("weight"))
    weights[name] = weights[name][:-1].contiguous()
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    rows, columns = weights[name].shape
    with pytest.raises(ValueError, match=rf"{name} \({rows}, {columns}\) in place of \({rows + 1}, {columns}\)"):
        hub.load(copy)
    assert "MISMATCH" not in capfd.readouterr().err


def test_weights_the_model_does_not_know_warn_in_one_line(copy):
    """They may be half of the model one meant."""
    weights = {**load_file(copy / "model.safetensors"), "extra.weight": torch.zeros(2)}
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.warns(UserWarning, match=r"1 weights the model does not know, e\.g\. extra\.weight"):
        hub.load(copy)


@pytest.mark.parametrize("name", ["runs/x", "./x", "../x", "~/nowhere-at-all", "/nowhere/x", "a/b/c", "x/", "runs/y/"])
def test_a_path_is_not_asked_for_at_the_hub(name, tmp_path, monkeypatch):
    """`--model runs/x` beside a folder `runs` spoke of the Hub after 47 seconds."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    monkeypatch.setattr(model_files, "hf_hub_download", lambda *_, **__: pytest.fail("the Hub was asked"))
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        hub.load(name)


ANSWER = SimpleNamespace(headers={}, request=None)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (errors.GatedRepoError("long\nstory", response=ANSWER), "asks for your consent"),
        (errors.RepositoryNotFoundError("long\nstory", response=ANSWER), "does not exist, or is private"),
        (errors.RevisionNotFoundError("long\nstory", response=ANSWER), "no revision 'r'"),
        (errors.LocalEntryNotFoundError("long\nstory"), "is this machine offline?"),
        (errors.EntryNotFoundError("long\nstory"), "holds no model"),
        (ConnectionError("long\nstory"), "can not be read"),
    ],
)
def test_the_hub_answers_in_one_line(error, reason, monkeypatch):
    """transformers asks for every file in turn and tells each failure in several lines."""

    def download(name, file, **options):
        assert (name, file, options) == ("owner/name", "config.json", {"revision": "r"})
        raise error

    monkeypatch.setattr(model_files, "hf_hub_download", download)
    with pytest.raises(FileNotFoundError, match=reason) as told:
        hub.load("owner/name", revision="r")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("device", ["foo", "meta", "cpu:x", "cuda", "cuda:99", "mps", "xpu"])
def test_absent_devices_are_refused_before_the_model_is_read(device, monkeypatch):
    """Each kind raised another error, `meta` a long one after all the work of loading."""
    kind = device.partition(":")[0]
    if kind == "mps" and torch.backends.mps.is_available():
        pytest.skip("this machine has one")
    if kind in ("cuda", "xpu") and getattr(torch, kind).device_count() > (99 if device == "cuda:99" else 0):
        pytest.skip("this machine has one")
    monkeypatch.setattr(hub.DeSa2VAModel, "from_pretrained", lambda *_, **__: pytest.fail("the model was read"))
    with pytest.raises(ValueError, match=f"there is no device '{device}' here; this machine has cpu"):
        hub.load(device=device)


def test_retries_are_not_told_one_by_one(monkeypatch, caplog):
    """Two lines for each of six attempts stood before the sentence that matters; other libraries are left alone."""

    def retry(*_, **__):
        logging.getLogger("huggingface_hub.utils._http").warning("Retrying in 8s")
        logging.getLogger("other").warning("heard")
        raise errors.LocalEntryNotFoundError("offline")

    monkeypatch.setattr(model_files, "hf_hub_download", retry)
    with pytest.raises(FileNotFoundError, match="offline"):
        model_files.check_hub("owner/name")
    assert [record.getMessage() for record in caplog.records] == ["heard"]
    assert logging.getLogger("huggingface_hub").level != logging.ERROR
