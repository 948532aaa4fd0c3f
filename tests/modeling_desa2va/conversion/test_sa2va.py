"""Published Sa2VA layouts, from the stored runs of the peer: every tensor used, every parameter filled."""

import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from desa2va.modeling_desa2va.conversion import load_sa2va, sa2va_processor

SHARED = Path(os.environ.get("DESA2VA_SHARED", Path(__file__).resolve().parents[4] / "shared"))
GOLDEN = SHARED / "peer_golden"
LAYOUTS = ("internlm2", "internvl_vp", "qwen2_5_vl", "qwen3_vl")
pytestmark = pytest.mark.skipif(
    not (GOLDEN / LAYOUTS[0]).is_dir(), reason=f"no stored runs of the peer in {GOLDEN} (set DESA2VA_SHARED)"
)


def load(folder):
    return load_sa2va(folder, sa2va_processor(folder, 256).tokenizer, dtype=torch.float32)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_tensor_is_used_and_every_parameter_filled(layout):
    """A count of values would not see two swapped tensors: single ones are compared."""
    folder = GOLDEN / layout
    model = load(folder)
    stored, own = load_file(folder / "model.safetensors"), model.state_dict()
    prefix = "grounding_encoder.sam2_model."
    for theirs, ours in (
        (prefix + "no_obj_ptr", "segmenter.sam.no_object_pointer"),
        (prefix + "sam_mask_decoder.iou_token.weight", "segmenter.visual_decoder.iou_token.weight"),
        (prefix + "sam_mask_decoder.iou_token.weight", "segmenter.sam.mask_decoder.iou_token.weight"),
        ("text_hidden_fcs.2.weight", "decoupling.visual.layers.2.weight"),
    ):
        torch.testing.assert_close(own[ours], stored[theirs].float(), rtol=0, atol=0)
    assert not model.training
    assert model.config.track_strategy == "memory"


@pytest.fixture
def copy(tmp_path):
    """A copy of one layout whose weights a test may change: `copy(change)`."""
    folder = tmp_path / "sa2va"
    shutil.copytree(GOLDEN / "qwen3_vl", folder, ignore=shutil.ignore_patterns("*.npz"))
    folder.chmod(0o755)

    def change(edit):
        tensors = load_file(folder / "model.safetensors")
        edit(tensors)
        (folder / "model.safetensors").unlink()
        save_file(tensors, folder / "model.safetensors")
        return folder

    return change


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda tensors: tensors.pop("grounding_encoder.sam2_model.maskmem_tpos_enc"), "memory_temporal_positional"),
        (lambda tensors: tensors.update({"extra.weight": torch.zeros(1)}), "extra.weight has no place"),
        (
            lambda tensors: tensors.update({"text_hidden_fcs.0.bias": torch.zeros(3)}),
            r"safetensors: text_hidden_fcs.0.bias \(3,\), where the model has \(64,\)",
        ),
    ],
)
def test_an_incomplete_checkpoint_is_refused_by_name(copy, edit, message):
    """A missing memory tensor would load as noise and draw black masks."""
    folder = copy(edit)
    with pytest.raises(ValueError, match=message):
        load(folder)
