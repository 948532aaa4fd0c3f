"""What a report says about its origin."""

import hashlib

import pytest

from desa2va.eval.provenance import describe_run, sam2_sha256, weights_sha256


def test_checksum_of_one_and_of_several_files(tmp_path):
    """One file has the checksum that `sha256sum` prints; shards are read in the order of their names."""
    (tmp_path / "model-2.safetensors").write_bytes(b"two")
    assert weights_sha256(tmp_path) == hashlib.sha256(b"two").hexdigest()
    (tmp_path / "model-1.safetensors").write_bytes(b"one")
    assert weights_sha256(tmp_path) == hashlib.sha256(b"onetwo").hexdigest()


def test_no_weights(tmp_path):
    with pytest.raises(FileNotFoundError, match="no \\*.safetensors"):
        weights_sha256(tmp_path)


def test_the_sam2_beside_a_model_is_told_by_its_contents(tmp_path):
    """Guards the identity of a pair: another SAM-2 in a folder of the same name went on with the run of the first."""
    assert sam2_sha256(None) is None
    folder = tmp_path / "sam2"
    folder.mkdir()
    original = folder / "sam2.pt"
    original.write_bytes(b"one")
    assert sam2_sha256(original) == sam2_sha256(folder) == hashlib.sha256(b"one").hexdigest()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"two")
    assert sam2_sha256(str(folder)) == hashlib.sha256(b"two").hexdigest()


def test_numeric_type_is_that_of_the_weights(make_model):
    """A report that says float32 of a model that ran in bfloat16 cannot be repeated."""
    model = make_model()
    assert describe_run(model)["dtype"] == "float32"
    assert describe_run(model.bfloat16())["dtype"] == "bfloat16"
