"""SAM-2 from folders of the Hub and from its authors' files."""

import json
import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Sam2VideoModel

from desa2va.modeling_desa2va.conversion import load_sam2
from desa2va.modeling_desa2va.conversion.sam2_config import recognise_hiera, sam2_config, stated_sizes
from tests.modeling_desa2va.conversion import published
from tests.modeling_desa2va.conversion.published_configs import HIERA, published_sam_config
from tests.modeling_desa2va.conversion.published_names import publish_sam


def assert_equal(model, expected):
    """Every parameter and buffer."""
    own, stored = model.state_dict(), expected.state_dict()
    assert own.keys() == stored.keys()
    assert [name for name in own if not torch.equal(own[name], stored[name])] == []


@pytest.mark.parametrize("version", ["2.0", "2.1"])
@pytest.mark.parametrize("hiera", HIERA)
def test_the_four_sizes_are_recognised_by_their_shapes(hiera, version):
    """Original files say nothing about their size; a wrong window or head count would only blur the masks."""
    with torch.device("meta"):
        model = Sam2VideoModel(published_sam_config(hiera, version))
    shapes = {name: value.shape for name, value in publish_sam(model.state_dict()).items()}
    assert recognise_hiera(shapes) == hiera
    config = sam2_config(stated_sizes(hiera), version)
    expected = published_sam_config(hiera, version).to_dict()
    assert config.to_dict() == expected


@pytest.mark.parametrize("version", ["2.0", "2.1"])
def test_an_original_file_loads(version, tmp_path):
    expected = published.write_sam_file(tmp_path / "sam2_hiera_tiny.pt", published_sam_config("tiny", version))
    assert_equal(load_sam2(tmp_path / "sam2_hiera_tiny.pt"), expected)


@pytest.mark.parametrize("model_type", ["sam2_video", "sam2"])
@pytest.mark.parametrize("version", ["2.0", "2.1"])
def test_a_folder_of_the_hub_loads(version, model_type, tmp_path):
    expected = published.write_sam_folder(tmp_path, version, model_type)
    loaded = load_sam2(tmp_path)
    assert_equal(loaded, expected)
    assert loaded.config.enable_occlusion_spatial_embedding == (version == "2.1")


def test_a_loaded_model_is_copied_not_shared(tmp_path):
    """Training the new model would train the given one."""
    model = published.write_sam_folder(tmp_path)
    loaded = load_sam2(model)
    assert_equal(loaded, model)
    loaded.no_memory_embedding.data.zero_()
    assert model.no_memory_embedding.abs().sum() > 0


def test_a_file_with_a_payload_is_refused(tmp_path):
    """A pickle can run anything; the message must be one sentence and the payload must not run."""

    class Payload:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    path = tmp_path / "sam2.pt"
    torch.save({"model": {"no_obj_ptr": torch.zeros(1)}, "extra": Payload()}, path)
    with pytest.raises(ValueError, match=r"sam2\.pt holds more than tensors") as caught:
        load_sam2(path)
    assert "\n" not in str(caught.value)
    path.write_bytes(pickle.dumps({"model": 1}))
    with pytest.raises(ValueError, match=r"sam2\.pt"):
        load_sam2(path)
    assert not (tmp_path / "ran").exists()


def test_what_is_no_sam2_is_refused_by_name(tmp_path):
    """Each says the file and what is wrong with it."""
    folder = tmp_path / "sam"
    published.write_sam_folder(folder)
    config = json.loads((folder / "config.json").read_text())
    weights = load_file(folder / "model.safetensors")
    lost = "memory_temporal_positional_encoding"
    save_file({name: value for name, value in weights.items() if name != lost}, folder / "model.safetensors")
    with pytest.raises(ValueError, match=f"no tensor fills {lost}"):
        load_sam2(folder)
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "edgetam_video"}))
    with pytest.raises(ValueError, match=r"config\.json: model_type='edgetam_video' is no SAM-2"):
        load_sam2(folder)
    with pytest.raises(FileNotFoundError, match="no SAM-2"):
        load_sam2(tmp_path / "absent")
    torch.save({"model": {"image_encoder.trunk.patch_embed.proj.weight": torch.zeros(5, 3, 7, 7)}}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match=r"x\.pt: SAM-2's image encoder has 0 blocks of width 5"):
        load_sam2(tmp_path / "x.pt")
