"""Published weights by name: loaded, converted, paired and refused, on synthetic folders in the published layout."""

import gc
import json
import logging
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import desa2va
from desa2va.cli import main
from desa2va.hub import convert_model
from desa2va.modeling_desa2va.language.generation_settings import generation_settings
from desa2va.training.arguments import MaskLossArguments
from desa2va.training.data.sample import Conversation, Sample
from desa2va.training.objectives.masks import DecouplingObjective
from tests.desa2va.conftest import reachable
from tests.modeling_desa2va.conversion import published
from tests.modeling_desa2va.conversion.published_configs import SA2VA

PICTURE = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """`written(name)`: the folder of a small Sa2VA, not to be changed, and its model; each is written once."""
    known = {}

    def write(name):
        if name not in known:
            folder = tmp_path_factory.mktemp("written") / name
            known[name] = folder, published.write_sa2va(folder, name)
        return known[name]

    return write


@pytest.fixture(scope="module")
def sa2va(tmp_path_factory):
    """A small Sa2VA, in three shards."""
    folder = tmp_path_factory.mktemp("published") / "Sa2VA-1B"
    published.write_sa2va(folder, "Sa2VA-1B", shards=3)
    return folder


@pytest.fixture(scope="module")
def sam(tmp_path_factory):
    """A folder of SAM-2 of the size that the small Sa2VA has, and its model."""
    folder = tmp_path_factory.mktemp("published") / "sam2"
    return folder, published.write_sam_folder(folder)


def answer(model, processor):
    """Token ids and masks of one request."""
    inputs = processor(images=PICTURE, text="the dog")
    with torch.no_grad():
        output = model.generate(**inputs, max_new_tokens=4)
    sizes = output.sequences.shape, len(processor.post_process(output, inputs))
    return output.sequences.tolist(), sizes


@pytest.mark.parametrize("name", SA2VA)
def test_a_published_sa2va_answers_converts_and_reloads(name, written, tmp_path):
    """One line loads each of the ten; what it is written to must answer alike, with its own processor."""
    source, native = written(name)
    model, processor = desa2va.load(source, device="cpu")
    assert model.processor is processor
    converted = convert_model(source, tmp_path / "converted", dtype="float32")
    again, its_processor = desa2va.load(converted, device="cpu")
    assert answer(again, its_processor) == answer(model, processor)
    own, stored = again.state_dict(), native.state_dict()
    assert [key for key in stored if not torch.equal(own[key], stored[key])] == []
    card = (converted / "README.md").read_text()
    assert "license: other" in card
    assert "trained from scratch" not in card


@pytest.mark.parametrize("name", ["Sa2VA-4B", "Sa2VA-8B", "Sa2VA-Qwen2_5-VL-3B", "Sa2VA-Qwen3-VL-4B"])
def test_what_ends_an_answer_survives_saving(name, written, tmp_path):
    """Stored generation settings are the language model's and were not written: what was set on them was lost."""
    model, _ = desa2va.load(written(name)[0], device="cpu")
    before = generation_settings(model.mllm, 1, {})
    model.save_pretrained(tmp_path / "same")
    again, _ = desa2va.load(tmp_path / "same", device="cpu")
    after = generation_settings(again.mllm, 1, {})
    assert (after.eos_token_ids, after.config.pad_token_id) == (before.eos_token_ids, before.config.pad_token_id)
    assert not after.config.do_sample
    again.generation_config.eos_token_id = [7, 8]
    again.save_pretrained(tmp_path / "other")
    last = generation_settings(desa2va.load(tmp_path / "other", device="cpu")[0].mllm, 1, {})
    assert last.eos_token_ids == [7, 8]


def test_tuned_and_untouched_weights_go_to_their_places(sa2va, sam, caplog):
    """The tracker must run on untouched weights, the language decoder on the tuned ones."""
    with caplog.at_level(logging.WARNING, "desa2va"):
        model, _ = desa2va.load(sa2va, device="cpu")
    assert "weights that Sa2VA tuned" in caplog.text
    assert model.config.track_strategy == "memory"
    caplog.clear()
    with caplog.at_level(logging.WARNING, "desa2va"):
        paired, _ = desa2va.load(sa2va, sam2=sam[0], device="cpu")
    assert not caplog.text
    assert paired.config.track_strategy == "consistent"
    own, tuned = paired.segmenter.state_dict(), model.segmenter.state_dict()
    assert all(torch.equal(own[f"sam.{name}"], value) for name, value in sam[1].state_dict().items())
    decoder = [name for name in tuned if name.startswith("visual_decoder.")]
    assert decoder
    assert all(torch.equal(own[name], tuned[name]) for name in decoder)


def test_a_desa2va_starts_from_a_sa2va(sa2va, sam):
    """Both branches begin with what Sa2VA learned, so that the first mask is already its mask."""
    sa2va_model, processor = desa2va.load(sa2va, device="cpu")
    model, _ = desa2va.load(sa2va, sam2=sam[0], init_desa2va=True, device="cpu")
    assert model.config.prompt_mode == "desa2va"
    states = torch.randn(3, model.config.get_text_config().hidden_size)
    expected = sa2va_model.decoupling.visual(states)
    for projection in (model.decoupling.text, model.decoupling.visual):
        torch.testing.assert_close(projection(states), expected)
    tuned = sa2va_model.segmenter.visual_decoder.state_dict()
    for decoder in (model.segmenter.text_decoder, model.segmenter.visual_decoder):
        assert all(torch.equal(value, tuned[name]) for name, value in decoder.state_dict().items())
    assert 0 < model.decoupling.label.layers[0].weight.std() < 1
    assert answer(model, processor)[0] == answer(sa2va_model, processor)[0]


@pytest.mark.parametrize(
    ("write", "arguments"),
    [(published.write_internvl, {"family": "internlm2"}), (published.write_transformers, {"family": "qwen3_vl"})],
)
def test_a_pair_loads_with_its_processor(write, arguments, sam, tmp_path):
    write(tmp_path, **arguments)
    model, processor = desa2va.load(tmp_path, sam2=sam[0], device="cpu")
    assert model.config.seg_token_ids == processor.seg_token_ids
    assert answer(model, processor)[1][1] == 1
    with pytest.raises(ValueError, match=r"draws no masks: give a SAM-2"):
        desa2va.load(tmp_path, device="cpu")
    with pytest.raises(ValueError, match="starts from a Sa2VA"):
        desa2va.load(tmp_path, sam2=sam[0], init_desa2va=True, device="cpu")


def test_the_command_converts_or_leaves_nothing(sa2va, sam, tmp_path, capsys):
    """A folder that looks like a model and is none would be loaded later."""
    out = tmp_path / "out"
    assert main(["convert", str(sa2va), "--sam2", str(sam[0]), "--init-desa2va", "--out", str(out)]) == 0
    assert desa2va.load(out, device="cpu")[0].config.prompt_mode == "desa2va"
    capsys.readouterr()
    assert main(["convert", str(sa2va), "--sam2", str(tmp_path / "no" / "sam"), "--out", str(tmp_path / "bad")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_disk_offload_needs_a_folder_and_works_with_one(sa2va, tmp_path):
    """transformers rewrites offloaded weights, since ours have other names than the files."""
    parts = ("mllm.model.vision_tower", "mllm.model.multi_modal_projector", "mllm.lm_head")
    places = dict.fromkeys((*parts, "decoupling", "segmenter", "fusion"), "cpu") | {
        "mllm.model.language_model": "disk"
    }
    with pytest.raises(ValueError, match="offload_folder"):
        desa2va.load(sa2va, device="cpu", device_map=places)
    model, processor = desa2va.load(sa2va, device="cpu", device_map=places, offload_folder=tmp_path / "disk")
    assert list((tmp_path / "disk").iterdir())
    assert answer(model, processor) == answer(*desa2va.load(sa2va, device="cpu"))


# ------------------------------------------------------------------------------------------------ bad input


def truncate(folder):
    path = folder / "model-00002-of-00003.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def lose_shard(folder):
    (folder / "model-00002-of-00003.safetensors").unlink()


def edit_weights(edit):
    def change(folder):
        for path in folder.glob("*.safetensors"):
            tensors = load_file(path)
            edit(tensors)
            save_file(tensors, path)

    return change


def edit_config(**fields):
    def change(folder):
        config = json.loads((folder / "config.json").read_text())
        for name, value in fields.items():
            inner = config
            *path, last = name.split("__")
            for key in path:
                inner = inner[key]
            inner[last] = value
        published.write_json(folder / "config.json", config)

    return change


def without_seg(folder):
    published.save_tokenizer(folder, "qwen2", segmentation=False)


def split_seg(folder):
    """`[SEG]` stays in the vocabulary, but no rule makes it: a text is split into two others."""
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    vocabulary, merges = content["model"]["vocab"], content["model"]["merges"]
    (seg,) = [entry for entry in content["added_tokens"] if entry["content"] == "[SEG]"]
    content["added_tokens"].remove(seg)
    vocabulary |= {"[SEG]": seg["id"], "[S": 900, "[SE": 901, "[SEG": 902}
    merges += [["[", "S"], ["[S", "E"], ["[SE", "G"]]
    published.write_json(path, content)


def lose(tensors):
    tensors.pop(f"{published.SAM_PREFIX}maskmem_tpos_enc", None)


def poison(tensors):
    for name in tensors:
        if name.endswith("layers.1.mlp.down_proj.weight"):
            tensors[name][0, 0] = torch.nan


def reshape(tensors):
    for name in tensors:
        if name.endswith("layers.1.mlp.down_proj.weight"):
            tensors[name] = tensors[name][:-1].contiguous()


BAD = {
    "another architecture": (edit_config(model_type="llama"), r"config.json: model_type='llama' is not supported"),
    "unknown version": (edit_config(ps_version="v3"), r"config.json .*ps_version='v3'"),
    "unknown language model": (
        edit_config(llm_config__architectures=["Qwen9ForCausalLM"]), r"config.json .*'Qwen9ForCausalLM' is unknown",
    ),
    "unknown template": (edit_config(template="vicuna"), "template='vicuna' is unknown"),
    "truncated shard": (truncate, "model-00002-of-00003.safetensors is no whole safetensors file"),
    "missing shard": (lose_shard, "index.json names the shard model-00002-of-00003.safetensors, which is not in"),
    "another shape": (edit_weights(reshape), r"00003.safetensors: language_model.*1.mlp.down_proj.weight \(55, 112\)"),
    "tokenizer without [SEG]": (
        without_seg, r"tokenizer_config.json: the tokenizer must have \[SEG\] as one token, it spells it \[ S E G \]",
    ),
    "tokenizer that splits [SEG]": (
        split_seg, r"tokenizer_config.json: the tokenizer must have \[SEG\] as one token, it spells it \[SEG \]",
    ),
    "a missing tensor": (edit_weights(lose), "no tensor fills .*memory_temporal_positional_encoding"),
    "not finite": (edit_weights(poison), r"weights are no finite numbers: .*1.mlp.down_proj.weight"),
    "rows short by one": (edit_config(llm_config__vocab_size=272), "272 embedding rows, the tokenizer 273 tokens"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_one_error_that_names_it_and_keeps_nothing(kind, sa2va, tmp_path):
    """Each of these once gave a model that answers wrongly, or a traceback from inside a library; and an error that
    was kept kept the refused model, through the frames of its traceback.
    """
    damage, message = BAD[kind]
    shutil.copytree(sa2va, tmp_path / "model")
    damage(tmp_path / "model")
    gc.collect()
    before = reachable()
    with pytest.raises((ValueError, FileNotFoundError), match=message) as kept:
        desa2va.load(tmp_path / "model", device="cpu")
    assert reachable() == before
    assert kept.value.__traceback__ is not None
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        convert_model(tmp_path / "model", tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("part", ["mllm", "sam2"])
def test_a_refused_pair_keeps_nothing(part, tmp_path):
    """Half of the model was read when the other half is refused; `from_parts` has the same way out."""
    write = {"mllm": lambda folder: published.write_internvl(folder), "sam2": published.write_sam_folder}
    for name in write:
        write[name](tmp_path / name)
    edit_weights(lambda tensors: tensors.pop(sorted(tensors)[-1]))(tmp_path / part)
    gc.collect()
    before = reachable()
    for load in (
        lambda: desa2va.load(tmp_path / "mllm", sam2=tmp_path / "sam2", device="cpu"),
        lambda: desa2va.DeSa2VAModel.from_parts(tmp_path / "mllm", tmp_path / "sam2"),
    ):
        with pytest.raises(ValueError, match="is no complete checkpoint: no tensor fills") as kept:
            load()
        assert reachable() == before
    assert kept.value.__traceback__ is not None


def test_sam2_of_another_size_or_with_a_payload_is_refused(sa2va, tmp_path):
    """Sa2VA's decoder reads the features of one encoder only."""
    from tests.modeling_desa2va.conversion.published_configs import published_sam_config

    published.write_sam_file(tmp_path / "tiny.pt", published_sam_config("tiny", "2.0"))
    with pytest.raises(ValueError, match=r"tiny\.pt: this SAM-2 has blocks \(96, 1, 2, 7, 2\), Sa2VA tuned one with"):
        desa2va.load(sa2va, sam2=tmp_path / "tiny.pt", device="cpu")
    torch.save({"model": {"a": torch.zeros(1)}, "extra": object}, tmp_path / "payload.pt")
    with pytest.raises(ValueError, match=r"payload\.pt"):
        desa2va.load(sa2va, sam2=tmp_path / "payload.pt", device="cpu")


def a_square():
    """A picture whose bright square is asked for."""
    frame = PICTURE.copy()
    frame[10:40, 20:60] = 255
    mask = np.zeros((1, 1, *frame.shape[:2]), bool)
    mask[..., 10:40, 20:60] = True
    turns = (("Please segment the square.", "It is [SEG]."),)
    return Sample(frame[None], (Conversation(turns, mask, ("square",)),))


LAYOUTS = {(family, template): name for name, (family, _, _, template) in SA2VA.items()}


@pytest.mark.parametrize("name", LAYOUTS.values())
def test_a_published_sa2va_is_fine_tuned_and_exported(name, written, tmp_path):
    """Twenty steps must lower the loss through every layout's language model, and what is saved must hold them."""
    model, processor = desa2va.load(written(name)[0], device="cpu")
    processor.max_tiles = 1  # one of 13 tiles is enough to learn from
    batch = processor.collate([a_square()])
    objective = DecouplingObjective(model, MaskLossArguments(), None, {"visual_mask": 1.0, "language": 1.0}, 0)
    parts = ("mllm.", "decoupling.visual", "segmenter.visual_decoder")
    learning = dict(item for item in model.named_parameters() if item[0].startswith(parts))
    optimizer = torch.optim.AdamW(learning.values(), lr=1e-3)
    losses = []
    for _ in range(20):
        terms = objective(**batch)["terms"]
        loss = terms["visual_mask"] + terms["language"]
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert not [key for key, value in learning.items() if "decoupling" in key and not value.grad.abs().sum()]
    assert losses[-1] < 0.8 * losses[0]
    model.eval().save_pretrained(tmp_path / "tuned")
    again, its_processor = desa2va.load(tmp_path / "tuned", device="cpu")
    assert answer(again, its_processor) == answer(model, processor)
    assert (tmp_path / "tuned" / "modeling_desa2va.py").is_file()
