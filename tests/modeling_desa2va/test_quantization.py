"""Loading quantised: the language model's linears alone."""

import numpy as np
import pytest
import torch
from transformers import AutoModel, AwqConfig, HqqConfig, PreTrainedModel, QuantoConfig, TorchAoConfig
from transformers.quantizers.quantizers_utils import should_convert_module

import desa2va
from desa2va.model_checks import not_finite
from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel
from desa2va.modeling_desa2va.quantization import NOT_QUANTISED, keep_as_stored, without_own_parts
from tests.modeling_desa2va.conversion import published

BITS_8 = {"quant_method": "bitsandbytes", "load_in_8bit": True}


def test_which_modules_are_left_alone(model):
    """Quantised projections and gates are read by code of ours: 4 bits died in the gate, 8 in decoupling."""
    linears = [name for name, part in model.named_modules() if isinstance(part, torch.nn.Linear)]
    chosen = [name for name in linears if should_convert_module(name, list(NOT_QUANTISED))]
    assert chosen == [name for name in linears if name.startswith("mllm.model.language_model.")]
    assert chosen
    assert not should_convert_module("mllm.model.visual.blocks.0.attn.qkv", list(NOT_QUANTISED))  # Qwen-VL's tower


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


def eight_bits_of_bitsandbytes():
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    return BITS_8


def eight_bits_of_torchao():
    quantization = pytest.importorskip("torchao.quantization", reason="torchao is not installed")
    return TorchAoConfig(quantization.Int8WeightOnlyConfig())


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("method", [eight_bits_of_bitsandbytes, eight_bits_of_torchao])
def test_eight_bits_load_answer_and_are_saved(tmp_path, scenes, method):
    """The whole way, where the method's package is installed; the masks are those of full precision."""
    method = method()
    label = scenes[0].conversations[0].labels[0]

    def mask(model, processor):
        inputs = processor(images=np.asarray(scenes[0].frames[0]), text=label, task="segment")
        return processor.post_process(model.generate(**inputs, max_new_tokens=12), inputs)[0].objects[0].mask()

    whole = mask(*desa2va.load(device="cpu"))
    model, processor = desa2va.load(device="cpu", quantization_config=method)
    seen = {name.split(".layers.")[0] for name, part in model.named_modules() if is_quantised(part)}
    assert seen == {"mllm.model.language_model"}
    small = mask(model, processor)
    assert (whole & small).sum() >= 0.95 * (whole | small).sum()
    model.save_pretrained(tmp_path)
    assert np.array_equal(mask(*desa2va.load(tmp_path, device="cpu")), small)


def is_quantised(part):
    weight = getattr(part, "weight", None)
    return isinstance(weight, torch.Tensor) and (
        weight.dtype == torch.int8 or type(weight.data).__module__.startswith("torchao")
    )


def test_codes_of_quantised_weights_are_not_looked_at_for_nan():
    """A tensor of torchao's knows no `isfinite`, and the shipped model could not be loaded with it."""

    class Codes(torch.Tensor):
        @classmethod
        def __torch_function__(cls, function, types, args=(), kwargs=None):
            if function is torch.Tensor.isfinite:
                raise NotImplementedError
            return super().__torch_function__(function, types, args, kwargs or {})

    module = torch.nn.Linear(2, 2)
    module.state_dict = lambda: {"weight": torch.zeros(2).as_subclass(Codes), "bias": torch.full((1,), torch.nan)}
    assert not_finite(module) == ["bias"]


def test_four_bits_are_not_packed_anew():
    """The switch of bitsandbytes, also where the package is not installed."""
    layer = torch.nn.Linear(2, 2)
    layer.support_avx512bf16_for_cpu = True
    keep_as_stored(torch.nn.Sequential(layer))
    assert not layer.support_avx512bf16_for_cpu


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", ["nf4", "fp4"])
def test_four_bits_are_the_same_after_an_answer_is_given_and_after_saving(tmp_path, scenes, kind):
    """bitsandbytes' layout for CPUs came back from `state_dict` with the scales of its blocks transposed."""
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    four = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": kind}

    def logits(model, processor):
        label = scenes[0].conversations[0].labels[0]
        inputs = processor(images=np.asarray(scenes[0].frames[0]), text=label, task="segment")
        return torch.stack(model.generate(**inputs, max_new_tokens=12).track_logits)

    model, processor = desa2va.load(device="cpu", quantization_config=four)
    first = logits(model, processor)
    model.save_pretrained(tmp_path)
    torch.testing.assert_close(logits(model, processor), first)
    torch.testing.assert_close(logits(*desa2va.load(tmp_path, device="cpu")), first)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", ["Sa2VA-4B", "Sa2VA-8B", "Sa2VA-Qwen2_5-VL-3B", "Sa2VA-Qwen3-VL-4B"])
@pytest.mark.parametrize("bits", [4, 8])
def test_published_layouts_are_quantised_while_they_are_mapped(tmp_path, name, bits):
    """Heads, SAM-2, vision tower, embeddings and output head, where the rows of `[SEG]` are, keep their numbers."""
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    native = published.write_sa2va(tmp_path, name)
    method = {"quant_method": "bitsandbytes", f"load_in_{bits}bit": True}
    model, _ = desa2va.load(tmp_path, device="cpu", quantization_config=method)
    seen = {part for part, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    small = {part for part in seen if model.get_submodule(part).weight.dtype in (torch.int8, torch.uint8)}
    assert small == {part for part in seen if ".language_model.layers." in part}
    assert small
    own = model.state_dict()
    left = {key: value for key, value in native.state_dict().items() if key.rpartition(".")[0] not in small}
    assert [key for key, value in left.items() if not torch.equal(own[key].float(), value.float())] == []


@pytest.mark.parametrize("name", ["Sa2VA-8B", "Sa2VA-Qwen3-VL-4B"])
def test_a_published_sa2va_answers_alike_with_little_memory(tmp_path, name):
    """Weights that go to the disk are written under the names they have here, not under those of the file."""
    published.write_sa2va(tmp_path / name, name)
    picture = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)

    def logits(**options):
        model, processor = desa2va.load(tmp_path / name, device="cpu", **options)
        away = sum(value.is_meta for value in model.parameters())
        inputs = processor(images=picture, text="the dog", task="segment")
        return torch.stack(model.generate(**inputs, max_new_tokens=4).track_logits), away

    expected, _ = logits()
    size = 2**20
    found, away = logits(device_map="auto", max_memory={"cpu": size}, offload_folder=tmp_path / "disk")
    assert away
    # What lies on the disk is drawn by transformers' own steps, the rest in fewer.
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3 * float(expected.abs().max()))
