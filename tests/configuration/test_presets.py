"""Presets against the sizes their publishers state; built on the meta device, no memory is spent."""

import pytest
import torch

from desa2va.configuration.presets import preset_config
from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel

BILLIONS = {
    "1b": 0.94,
    "4b": 3.7,
    "8b": 8.1,
    "26b": 25.5,
    "internvl3-2b": 2.1,
    "internvl3-8b": 7.9,
    "internvl3-14b": 15.1,
    "qwen2.5-vl-3b": 3.75,
    "qwen2.5-vl-7b": 8.29,
    "qwen3-vl-4b": 4.44,
}


@pytest.mark.parametrize(("name", "billions"), BILLIONS.items())
def test_language_model_has_the_published_size(name, billions):
    with torch.device("meta"):
        model = DeSa2VAModel(preset_config(name))
    assert sum(p.numel() for p in model.mllm.parameters()) / 1e9 == pytest.approx(billions, rel=0.02)
    # SAM 2.1 large is published as 224.4 M parameters.
    assert sum(p.numel() for p in model.segmenter.sam.parameters()) / 1e6 == pytest.approx(224.4, abs=0.1)
