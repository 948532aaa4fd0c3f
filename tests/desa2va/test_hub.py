"""Names to models, models to folders, and folders that load where the package is absent."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import desa2va
from desa2va import hub, model_files

PROGRAM = Path(__file__).with_name("remote_answers.py")


def answer_locally(folder, picture):
    """What the package itself answers, in the form that `remote_answers.py` writes."""
    model, processor = desa2va.load(folder, device="cpu")
    inputs = processor(images=picture, text="the red square", task="segment")
    output = model.generate(**inputs, max_new_tokens=8)
    result = processor.post_process(output, inputs)[0]
    with model.stream([picture] * 3, "the red square", num_key_frames=2, max_new_tokens=8) as stream:
        frames = [seen.to_dict() for seen in stream]
    answer = {"result": result.to_dict(), "logits": output.track_logits[0].tolist(), "frames": frames}
    return json.loads(json.dumps(answer))


@pytest.fixture(scope="module")
def remote(saved_model, picture, tmp_path_factory):
    """`(what remote_answers.py saw, the folder it saved into)`; one process, since each has to import everything."""
    work = tmp_path_factory.mktemp("remote")
    environment = {**os.environ, "HF_MODULES_CACHE": str(work / "modules"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-I", str(PROGRAM), str(saved_model), str(picture), str(work)]
    done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((work / "answers.json").read_text()), work


def test_saved_model_answers_alike_where_the_package_is_absent(saved_model, picture, remote):
    """The reason of the flat export: code that is missing or imported from the package breaks on other machines.

    The remote model is saved again and loaded again: what is fine-tuned from remote code must be self-contained too.
    """
    seen, work = remote
    expected = answer_locally(saved_model, picture)
    assert expected["result"]["objects"]
    assert seen["first"]["answer"] == expected
    assert seen["second"]["answer"] == expected
    assert answer_locally(work / "answer_second", picture) == expected


def test_saved_folder_is_complete(saved_model):
    """One call writes everything a user of the folder needs, and nothing of training or evaluation."""
    names = {path.name for path in saved_model.iterdir()}
    assert {"config.json", "model.safetensors", "processor_config.json", "tokenizer.json", "README.md"} <= names
    assert {"modeling_desa2va.py", "processing_desa2va.py", "configuration_desa2va.py", "flat_export.py"} <= names
    assert not {name for name in names if "trainer" in name or "refshapes" in name or "auxiliary" in name}
    auto_map = json.loads((saved_model / "config.json").read_text())["auto_map"]
    assert auto_map == {"AutoConfig": "modeling_desa2va.DeSa2VAConfig", "AutoModel": "modeling_desa2va.DeSa2VAModel"}


def test_installed_classes_win_over_remote_code(saved_model):
    """With the package in use there must be one class, or `isinstance` and patches stop working."""
    from transformers import AutoModel, AutoProcessor

    model = AutoModel.from_pretrained(saved_model, trust_remote_code=True)
    processor = AutoProcessor.from_pretrained(saved_model, trust_remote_code=True)
    assert type(model) is desa2va.DeSa2VAModel
    assert type(processor) is desa2va.DeSa2VAProcessor


def test_export_model_copies_weights_and_side_files(saved_model, tmp_path):
    """An export must hold the same weights and carry the scores of the model it came from."""
    source = tmp_path / "source"
    shutil.copytree(saved_model, source)
    (source / "evaluation.json").write_text('{"ciou": 0.5}')
    target = hub.export_model(tmp_path / "deep" / "target", source)
    old, new = load_file(source / "model.safetensors"), load_file(target / "model.safetensors")
    assert old.keys() == new.keys()
    assert all(torch.equal(old[name], new[name]) for name in old)
    assert (target / "evaluation.json").read_text() == '{"ciou": 0.5}'
    assert "0.500" in (target / "README.md").read_text()
    assert [path.name for path in target.parent.iterdir()] == ["target"]


def test_export_refuses_a_used_target_and_leaves_nothing_half(saved_model, tmp_path):
    """An export must neither mix with foreign files nor leave a folder that looks complete."""
    used = tmp_path / "used"
    used.mkdir()
    (used / "mine.txt").write_text("keep")
    with pytest.raises(FileExistsError, match="not an empty folder"):
        hub.export_model(used, saved_model)
    broken = tmp_path / "broken"
    shutil.copytree(saved_model, broken)
    (broken / "tokenizer.json").write_text("{")
    with pytest.raises(Exception):  # noqa: B017, PT011  (whatever the tokenizer library raises)
        hub.export_model(tmp_path / "new", broken)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken", "used"]
    assert (used / "mine.txt").read_text() == "keep"


@pytest.mark.parametrize("missing", ["config.json", "processor_config.json", "model.safetensors"])
def test_incomplete_folder_is_named(saved_model, tmp_path, missing):
    """Without the check the error comes from deep inside a library and speaks of the Hub."""
    folder = tmp_path / "model"
    shutil.copytree(saved_model, folder)
    (folder / missing).unlink()
    with pytest.raises(FileNotFoundError, match=missing.replace("model.", r"\*.")):
        hub.load(folder)


def test_checkpoint_without_some_weights_is_an_error(saved_model, tmp_path):
    """transformers only warns and leaves the weights random: masks would be silently wrong."""
    folder = tmp_path / "model"
    shutil.copytree(saved_model, folder)
    weights = load_file(folder / "model.safetensors")
    lost = next(name for name in weights if "text_decoder" in name)
    del weights[lost]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks weights.*text_decoder"):
        hub.load(folder)


def test_names_resolve(saved_model, tmp_path, monkeypatch):
    """A folder, a Hub id and the shipped name are told apart; a missing path is not sent to the Hub."""
    assert hub.resolve(saved_model) == str(saved_model)
    assert hub.resolve("owner/name") == "owner/name"
    with pytest.raises(FileNotFoundError, match="no folder"):
        hub.resolve("./not/here")
    monkeypatch.setattr(model_files, "_ASSETS", tmp_path)
    shutil.copytree(saved_model, tmp_path / hub.SHIPPED_MODEL)
    assert hub.resolve(hub.SHIPPED_MODEL) == str(tmp_path / hub.SHIPPED_MODEL)


def test_load_keeps_the_processor_with_the_model(saved_model, tmp_path):
    """`model.save_pretrained` alone must write a folder that works."""
    model, processor = desa2va.load(saved_model, device="cpu")
    assert model.processor is processor
    assert not model.training
    assert model.dtype == torch.float32
    model.save_pretrained(tmp_path / "copy")
    assert hub.resolve(tmp_path / "copy")


def test_push_uploads_the_whole_folder(saved_model, monkeypatch):
    """The method of transformers replaces the model card by a stub and forgets the processor."""
    import huggingface_hub

    calls = {}

    class FakeApi:
        def __init__(self, token=None):
            calls["token"] = token

        def create_repo(self, repo_id, private=None, exist_ok=False):
            return type("Repo", (), {"repo_id": f"me/{repo_id}"})()

        def upload_folder(self, repo_id, folder_path, **commit):
            calls.update(repo_id=repo_id, files=set(os.listdir(folder_path)), **commit)
            return "https://example.invalid/commit"

    monkeypatch.setattr(huggingface_hub, "HfApi", FakeApi)
    model, _ = desa2va.load(saved_model, device="cpu")
    model.push_to_hub("toy", token="t", commit_message="hello")
    assert (calls["repo_id"], calls["token"], calls["commit_message"]) == ("me/toy", "t", "hello")
    assert {"README.md", "model.safetensors", "processor_config.json", "modeling_desa2va.py"} <= calls["files"]


def test_the_older_name_of_dtype_is_heard():
    """`torch_dtype=torch.bfloat16` silently gave float32."""
    assert desa2va.load(torch_dtype=torch.bfloat16)[0].dtype == torch.bfloat16
    assert desa2va.load(dtype="bfloat16", torch_dtype=torch.bfloat16)[0].dtype == torch.bfloat16
    with pytest.raises(ValueError, match="dtype=float16 and torch_dtype=torch.bfloat16 differ"):
        desa2va.load(dtype="float16", torch_dtype=torch.bfloat16)


def test_pipeline_of_a_folder_where_the_package_is_absent(saved_model, picture, remote):
    """`custom_pipelines` names a class among the flat files; also with accelerate, and saved by the pipeline."""
    stated = json.loads((saved_model / "config.json").read_text())["custom_pipelines"]
    impl = "modeling_desa2va.ReferringSegmentationPipeline"
    assert stated == {"referring-segmentation": {"impl": impl, "pt": ["AutoModel"]}}
    model, processor = desa2va.load(saved_model, device="cpu")
    inputs = processor(images=picture, text="the red square", task="segment")
    expected = processor.post_process(model.generate(**inputs, max_new_tokens=8), inputs)[0]
    first, second = (remote[0][turn]["piped"] for turn in ("first", "second"))
    assert first[0] == json.loads(json.dumps(expected.to_dict()))
    assert second == first


def test_pipeline_of_a_folder_beside_the_package(saved_model, picture, tmp_path):
    """The folder names the task where the caller does not; also with a part that accelerate leaves on disk."""
    from transformers import pipeline

    pipe = pipeline(model=str(saved_model), trust_remote_code=True, device="cpu", max_new_tokens=2)
    assert type(pipe.model) is desa2va.DeSa2VAModel
    assert pipe.task == "referring-segmentation"
    plain = pipe(str(picture), "the ring")
    places = {"mllm": "cpu", "decoupling": "cpu", "fusion": "cpu", "segmenter": "disk"}
    offload = {"offload_folder": str(tmp_path)}
    spread = pipeline(
        "referring-segmentation",
        model=str(saved_model),
        trust_remote_code=True,
        device_map=places,
        model_kwargs=offload,
        max_new_tokens=2,
    )
    assert spread.model.hf_device_map == places
    # Offloaded, SAM-2's networks take transformers' own steps, which are the same to rounding.
    found, expected = (
        json.loads(json.dumps(result.to_dict()), parse_float=lambda number: round(float(number), 4))
        for result in (spread(str(picture), "the ring"), plain)
    )
    assert found == expected
