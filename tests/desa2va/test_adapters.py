"""What LoRA, the `[SEG]` rows and the heads learned, as a folder of peft's: the same model, however it is read."""

import copy
import json
import shutil

import numpy as np
import pytest
import torch
import transformers
from packaging import version
from peft import AutoPeftModel, PeftModel
from safetensors.torch import load_file, save_file

import desa2va
from desa2va.adapters import lora_config, with_adapter
from desa2va.cli import main
from tests.modeling_desa2va import conftest as backbones

PICTURE = np.random.default_rng(0).integers(0, 255, (40, 64, 3), np.uint8)
# Every backbone, and both kinds of embeddings twice: tying is transformers' own and no matter of the backbone.
BACKBONES = ["internvl", "internvl tied", "qwen2_5_vl tied", "qwen3_vl"]
make_backbone = backbones.make_backbone  # a fixture of a neighbour
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")


def answers(model, processor):
    """Logits of words, of masks, and the text; from a request about a picture."""
    inputs = processor(images=PICTURE, text="find the star", task="segment")
    output = model.generate(**inputs, max_new_tokens=4, output_logits=True)
    words = torch.stack(list(output.logits))
    return words, torch.stack(output.track_logits), processor.post_process(output, inputs)[0].text


def assert_equal(one, other, atol=1e-4):
    for mine, yours in zip(one[:2], other[:2], strict=True):
        torch.testing.assert_close(mine, yours, rtol=0, atol=atol)
    assert one[2] == other[2]


def trained(model, seed=1):
    """`model` wrapped as for training, every weight that learns moved."""
    wrapped = with_adapter(model, lora_config(model, rank=2, alpha=4)).eval()
    torch.manual_seed(seed)
    with torch.no_grad():
        for weight in wrapped.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn_like(weight) * 0.02)
    return wrapped


@pytest.fixture(scope="module")
def make_base(tmp_path_factory, make_backbone, make_model, processor):
    """Saves a tiny base model of a backbone once and returns its folder."""
    folders = {}

    def make(name):
        if name not in folders:
            backbone, tied = name.split(" ")[0], name.endswith("tied")
            if backbone == "internvl":
                model, own = make_model(), processor
            else:
                model, own = make_backbone(backbone)
            configs = (model.config, model.config.mllm_config, model.config.mllm_config.text_config)
            for config in configs:
                config.tie_word_embeddings = tied
            state = {key: value.clone() for key, value in model.state_dict().items()}
            model = desa2va.DeSa2VAModel(model.config).eval()
            model.load_state_dict(state)
            if not tied:
                torch.nn.init.normal_(model.get_output_embeddings().weight, std=0.2)
            model.processor = own
            folders[name] = tmp_path_factory.mktemp("base") / "model"
            model.save_pretrained(folders[name])
        return folders[name]

    return make


@pytest.fixture(scope="module", params=BACKBONES)
def case(request, make_base, tmp_path_factory):
    """`(base model and processor, adapter folder, what the trained model answers)`; copy the model to change it."""
    base, own = desa2va.load(make_base(request.param), device="cpu")
    plain = answers(base, own)
    wrapped = trained(copy.deepcopy(base))
    expected = answers(wrapped, own)
    assert not torch.allclose(expected[0][0], plain[0][0], atol=1e-2)
    folder = tmp_path_factory.mktemp("adapter") / "adapter"
    wrapped.save_pretrained(folder)
    return (base, own), folder, expected


def test_every_way_of_reading_an_adapter_gives_one_model(case, tmp_path):
    """Tied embeddings lose a row, and heads stay the base's, wherever peft's wrapping is half understood."""
    (base, own), folder, expected = case
    assert_equal(answers(PeftModel.from_pretrained(copy.deepcopy(base), folder).eval(), own), expected)
    loaded = copy.deepcopy(base)
    try:
        loaded.load_adapter(str(folder))
        assert_equal(answers(loaded.eval(), own), expected)
    except ValueError as error:  # transformers 5.17 would leave out heads and rows
        if version.parse(transformers.__version__) >= version.parse("5.23") or "LoRA alone" not in str(error):
            raise
    merged, own = desa2va.load(folder, device="cpu")
    assert_equal(answers(merged, own), expected)
    assert not [name for name, _ in merged.named_parameters() if "lora" in name or "modules_to_save" in name]
    assert all(weight.requires_grad for weight in merged.parameters())
    merged.save_pretrained(tmp_path / "saved")
    assert_equal(answers(*desa2va.load(tmp_path / "saved", device="cpu")), expected)
    assert main(["merge", str(folder), "--out", str(tmp_path / "merged")]) == 0
    assert_equal(answers(*desa2va.load(tmp_path / "merged", device="cpu")), expected)


@pytest.mark.filterwarnings("error:.*is_gradient_checkpointing.*:FutureWarning")
def test_only_the_seg_rows_move_and_the_vocabulary_stays(case):
    """A resized or retrained embedding would change every word."""
    (before, _), folder, _ = case
    after, _ = desa2va.load(folder, device="cpu")
    tied = before.config.tie_word_embeddings
    assert (after.get_output_embeddings().weight is after.get_input_embeddings().weight) == tied
    for get in ("get_input_embeddings", "get_output_embeddings"):
        one, other = getattr(before, get)().weight, getattr(after, get)().weight
        assert one.shape == other.shape
        moved = (one != other).any(dim=1).nonzero().flatten().tolist()
        assert moved == sorted(before.config.seg_token_ids)


@pytest.fixture(scope="module")
def stored(make_base, tmp_path_factory):
    """`(folder, base folder)` of an adapter, not to be changed."""
    base, folder = make_base("internvl tied"), tmp_path_factory.mktemp("stored") / "adapter"
    trained(desa2va.load(base, device="cpu")[0]).save_pretrained(folder)
    return folder, base


@pytest.fixture
def adapter(stored, tmp_path):
    """`(folder, base folder)` of an adapter that may be damaged."""
    folder, base = stored
    return shutil.copytree(folder, tmp_path / "adapter"), base


def test_peft_finds_the_base_model_by_itself(adapter):
    """The class has to be one that peft is allowed to import."""
    folder, base = adapter
    config = json.loads((folder / "adapter_config.json").read_text())
    config["auto_mapping"] = {"base_model_class": "AutoModel", "parent_library": "transformers"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    _, own = desa2va.load(base, device="cpu")
    expected = answers(*desa2va.load(folder, device="cpu"))
    assert_equal(answers(AutoPeftModel.from_pretrained(str(folder)).eval(), own), expected)


def test_an_adapter_is_small(adapter):
    folder, base = adapter
    stored = load_file(folder / "adapter_model.safetensors")
    assert not [name for name in stored if "sam." in name or "vision" in name or "embed_tokens.weight" in name]
    assert (folder / "adapter_model.safetensors").stat().st_size < (base / "model.safetensors").stat().st_size / 2


def test_a_base_model_that_is_not_there_is_named_and_can_be_given(adapter, tmp_path, capsys):
    folder, base = adapter
    shutil.copytree(base, tmp_path / "copy")
    config = json.loads((folder / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "owner/lost"
    (folder / "adapter_config.json").write_text(json.dumps(config))
    assert main(["merge", str(folder), "--out", str(tmp_path / "out")]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("desa2va merge: ")]
    assert len(lines) == 1
    assert f"the base model of the adapter {folder} is not to be had" in lines[0]
    assert "owner/lost" in lines[0]
    assert not (tmp_path / "out").exists()
    given = answers(*desa2va.load(folder, base_model=tmp_path / "copy", device="cpu"))
    assert main(["merge", str(folder), "--out", str(tmp_path / "out"), "--model", str(tmp_path / "copy")]) == 0
    assert_equal(answers(*desa2va.load(tmp_path / "out", device="cpu")), given)


def drop(state):
    del state["base_model.model.decoupling.text.layers.0.weight"]


def add(state):
    state["base_model.model.more"] = torch.zeros(1)


def spoil(state):
    next(value for name, value in state.items() if "lora_A" in name).fill_(torch.nan)


def narrow(state):
    name = next(name for name in state if "delta" in name)
    state[name] = state[name][:, :-1].contiguous()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (drop, r"lacks decoupling\.text"),
        (add, "holds more, which the base model does not know"),
        (spoil, "not finite"),
        (narrow, "in place of"),
    ],
)
def test_an_adapter_of_another_model_is_refused_by_name(adapter, damage, reason):
    """peft only warns of missing weights: the heads would silently be the base's."""
    folder, _ = adapter
    state = load_file(folder / "adapter_model.safetensors")
    damage(state)
    save_file(state, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=rf"adapter in {folder} can not be read.*{reason}"):
        desa2va.load(folder, device="cpu")


def test_what_is_wrong_with_a_request_is_said(adapter, saved_model, tmp_path):
    folder, base = adapter
    with pytest.raises(ValueError, match="merge it"):
        desa2va.load(folder, quantization_config={"quant_method": "bitsandbytes", "load_in_8bit": True})
    with pytest.raises(ValueError, match="is a whole model"):
        desa2va.load(base, base_model=base)
    assert main(["merge", str(base), "--out", str(tmp_path / "out")]) == 2
    (folder / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match="damaged or cut off"):
        desa2va.load(folder, device="cpu")
