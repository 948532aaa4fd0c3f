"""Loading quantised: the language model's linears alone."""

import numpy as np
import pytest
import torch
from transformers import AutoModel, AwqConfig, HqqConfig, PreTrainedModel, QuantoConfig
from transformers.quantizers.quantizers_utils import should_convert_module

import desa2va
from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel
from desa2va.modeling_desa2va.quantization import NOT_QUANTISED, without_own_parts

BITS_8 = {"quant_method": "bitsandbytes", "load_in_8bit": True}


def test_which_modules_are_left_alone(model):
    """Quantised projections and gates are read by code of ours: 4 bits died in the gate, 8 in decoupling."""
    linears = [name for name, part in model.named_modules() if isinstance(part, torch.nn.Linear)]
    chosen = [name for name in linears if should_convert_module(name, list(NOT_QUANTISED))]
    assert chosen == [name for name in linears if name.startswith("mllm.model.")]
    assert any("language_model" in name for name in chosen)


@pytest.mark.parametrize(
    ("given", "name", "own"),
    [
        (QuantoConfig(weights="int8"), "modules_to_not_convert", []),
        (QuantoConfig(weights="int8", modules_to_not_convert=["mine"]), "modules_to_not_convert", ["mine"]),
        (HqqConfig.__new__(HqqConfig), "skip_modules", ["lm_head"]),
        (AwqConfig.__new__(AwqConfig), "modules_to_not_convert", []),
        (BITS_8, "llm_int8_skip_modules", []),
        ({**BITS_8, "llm_int8_skip_modules": ["mine"]}, "llm_int8_skip_modules", ["mine"]),
    ],
    ids=["quanto", "quanto, own list", "hqq", "awq", "bitsandbytes", "bitsandbytes, own list"],
)
def test_every_methods_list_is_extended(given, name, own):
    """A list of one's own replaced the default, and the output head was quantised."""
    if not isinstance(given, dict) and not hasattr(given, name):
        setattr(given, name, own or None)  # made without the package of the method
    found = getattr(without_own_parts(given), name)
    assert found[: len(own)] == own
    assert set(found) == {*own, *NOT_QUANTISED}
    if not isinstance(given, dict):
        assert (getattr(given, name) or []) == own  # the caller's is not changed


def test_a_method_without_a_list_is_refused():
    with pytest.raises(ValueError, match="object has no list of modules that stay as they are"):
        without_own_parts(object())


def test_every_way_of_loading_leaves_them_alone(monkeypatch):
    seen = []
    plain = PreTrainedModel.from_pretrained.__func__

    def spy(cls, *args, quantization_config=None, **kwargs):
        seen.append(quantization_config)
        return plain(cls, *args, **kwargs)

    monkeypatch.setattr(PreTrainedModel, "from_pretrained", classmethod(spy))
    folder = desa2va.hub.resolve("desa2va-tiny")
    desa2va.load(quantization_config=BITS_8)
    AutoModel.from_pretrained(folder, quantization_config=BITS_8)
    DeSa2VAModel.from_pretrained(folder)
    assert [set(entry.llm_int8_skip_modules) for entry in seen[:2]] == [set(NOT_QUANTISED)] * 2
    assert seen[2] is None


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_eight_bits_load_answer_and_are_saved(tmp_path, scenes):
    """The whole way, where bitsandbytes is installed."""
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    label = scenes[0].conversations[0].labels[0]

    def mask(model, processor):
        inputs = processor(images=np.asarray(scenes[0].frames[0]), text=label, task="segment")
        return processor.post_process(model.generate(**inputs, max_new_tokens=12), inputs)[0].objects[0].mask()

    whole = mask(*desa2va.load())
    model, processor = desa2va.load(quantization_config=BITS_8)
    small = mask(model, processor)
    assert (whole & small).sum() > 0.9 * (whole | small).sum()
    model.save_pretrained(tmp_path)
    assert np.array_equal(mask(*desa2va.load(tmp_path)), small)
