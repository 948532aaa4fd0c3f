"""Language models and SAM-2 in every published layout, paired."""

import json

import pytest
import torch
from transformers import AutoTokenizer

import desa2va
from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel
from tests.modeling_desa2va.conversion import published
from tests.modeling_desa2va.conversion.published_configs import vocabulary_size

# Writer of a language model, its arguments, rows of the embedding afterwards beyond those of the file.
LANGUAGE = {
    "InternVL2.5 (Qwen2)": (published.write_internvl, {"family": "qwen2", "shards": 2}, 5),
    "InternVL2.5 (InternLM2)": (published.write_internvl, {"family": "internlm2"}, 5),
    "InternVL3.5 (Qwen3)": (published.write_internvl, {"family": "qwen3"}, 5),
    "InternVL3, padded": (published.write_internvl, {"family": "qwen2", "padding": 3}, 2),
    "InternVL3-hf": (published.write_transformers, {"family": "qwen2"}, 5),
    "Qwen2.5-VL": (published.write_transformers, {"family": "qwen2_5_vl"}, 5),
    "Qwen2.5-VL, tied and padded": (
        published.write_transformers,
        {"family": "qwen2_5_vl", "tied": True, "padding": 9},
        0,
    ),
    "Qwen3-VL, tied": (published.write_transformers, {"family": "qwen3_vl", "tied": True}, 5),
    "Qwen3.5": (published.write_transformers, {"family": "qwen3_5"}, 5),
}


@pytest.fixture(scope="module")
def sam(tmp_path_factory):
    """A SAM-2 folder and its model."""
    folder = tmp_path_factory.mktemp("sam2")
    return folder, published.write_sam_folder(folder, "2.1")


def network(config):
    """What the configuration says about the network's computations; rows of the table and ends of answers aside."""
    ignored = {"vocab_size", "dtype", "transformers_version", "_name_or_path", "architectures", "eos_token_id"}
    parts = [
        {
            name: value
            for name, value in part.to_dict().items()
            if value is not None and name not in ignored and "config" not in name
        }
        for part in (config.get_text_config(), config.vision_config)
    ]
    parts[0]["rope_parameters"].pop("type", None)  # the old name of rope_type
    return parts


@pytest.mark.parametrize("layout", LANGUAGE)
def test_a_language_model_is_paired_with_sam2(layout, sam, tmp_path):
    """Rows of old tokens must stay, rows of new ones must be there, in the head too, and be told apart."""
    write, arguments, more = LANGUAGE[layout]
    native = write(tmp_path, **arguments)
    model = DeSa2VAModel.from_parts(tmp_path, sam[0], dtype=torch.float32)
    old, own = native.state_dict(), model.mllm.state_dict()
    tables = {"model.language_model.embed_tokens.weight", "lm_head.weight"}
    assert own.keys() == old.keys()
    assert network(model.mllm.config) == network(native.config)
    assert [name for name in own if name not in tables and not torch.equal(own[name], old[name])] == []
    first = vocabulary_size(arguments["family"], segmentation=False)
    for name in tables:
        assert torch.equal(own[name][:first], old[name][:first])
        assert len(own[name]) == len(old[name]) + more == model.config.get_text_config().vocab_size
        rows = own[name][first : first + 5]
        assert torch.cdist(rows, rows).fill_diagonal_(1).min() > 1e-3
        assert rows.mean(1).sub(old[name][:first].mean()).abs().max() < 1
    tied = arguments.get("tied", False)
    assert (model.get_input_embeddings().weight is model.get_output_embeddings().weight) == tied
    assert model.config.seg_token_ids == [first]
    assert not model.training


def test_decoders_start_as_sam2s_and_the_rest_anew(sam, tmp_path):
    """Decoders that start from noise cost phase 1; a projection of zeros would never move."""
    published.write_transformers(tmp_path, "qwen3_vl")
    model = DeSa2VAModel.from_parts(tmp_path, sam[0], dtype=torch.float32, num_reprompts=2)
    for decoder in (model.segmenter.text_decoder, model.segmenter.visual_decoder, model.segmenter.sam.mask_decoder):
        own = decoder.state_dict()
        assert all(torch.equal(own[name], value) for name, value in sam[1].mask_decoder.state_dict().items())
    assert model.config.num_reprompts == 2
    for projection in (model.decoupling.text, model.decoupling.visual, model.decoupling.label):
        assert 0 < projection.layers[0].weight.std() < 1


def test_loaded_parts_are_copied_and_need_their_tokenizer(sam, tmp_path):
    """Training the pair must leave what the user holds as it is."""
    native = published.write_transformers(tmp_path, "qwen3_vl")
    size = native.config.get_text_config().vocab_size
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    model = DeSa2VAModel.from_parts(native, sam[1], tokenizer)
    assert len(tokenizer) == size + 5 == model.config.get_text_config().vocab_size
    assert native.config.get_text_config().vocab_size == size
    model.mllm.model.language_model.norm.weight.data.zero_()
    assert native.model.language_model.norm.weight.abs().sum() > 0
    with pytest.raises(ValueError, match="tokenizer"):
        DeSa2VAModel.from_parts(native, sam[1])


def test_another_architecture_is_refused_in_one_sentence(sam, tmp_path):
    """It must name what was found and what would be right."""
    published.write_transformers(tmp_path / "qwen", "qwen3_vl")
    published.write_sam_folder(tmp_path / "sam")
    for folder in ("qwen", "sam"):
        published.write_json(tmp_path / folder / "config.json", {"model_type": "llama"})
    with pytest.raises(ValueError, match=r"qwen/config.json: model_type='llama' is not supported; internvl_chat, "):
        DeSa2VAModel.from_parts(tmp_path / "qwen", sam[0])
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "qwen")
    with pytest.raises(ValueError, match=r"mllm must be a model of type internvl, .*got sam2_video"):
        DeSa2VAModel.from_parts(sam[1], sam[0], tokenizer)
    published.write_transformers(tmp_path / "qwen", "qwen3_vl")
    with pytest.raises(ValueError, match=r"sam/config.json: model_type='llama' is no SAM-2"):
        DeSa2VAModel.from_parts(tmp_path / "qwen", tmp_path / "sam")


@pytest.mark.parametrize("stated", [None, 3, [3, 5]])
def test_an_answer_ends_where_training_ends_it(tmp_path, stated):
    """Published configurations state `<|endoftext|>`, or nothing (a TypeError); answers close with `<|im_end|>`."""
    published.write_transformers(tmp_path / "mllm", "qwen3_5")
    path = tmp_path / "mllm" / "config.json"
    config = json.loads(path.read_text())
    config["text_config"]["eos_token_id"] = stated
    published.write_json(path, config)
    published.write_sam_folder(tmp_path / "sam")
    model, processor = desa2va.load(str(tmp_path / "mllm"), sam2=str(tmp_path / "sam"), device="cpu")
    close = processor.tokenizer.convert_tokens_to_ids("<|im_end|>")
    others = stated if isinstance(stated, list) else [stated] if stated else []
    assert model.config.get_text_config().eos_token_id == sorted({close, *others})
    said = model.generate(**processor(text="Hello"), max_new_tokens=2)
    assert said.sequences.shape[0] == 1
    decoders = model.segmenter.sam.mask_decoder, model.segmenter.text_decoder, model.segmenter.visual_decoder
    places = {decoder.iou_token.weight.data_ptr() for decoder in decoders}
    assert len(places) == 3, "float32 weights are mapped from the file: the three decoders were one memory"
    model.save_pretrained(tmp_path / "own")
    processor.save_pretrained(tmp_path / "own")
    again, _ = desa2va.load(str(tmp_path / "own"), device="cpu")
    assert again.config.get_text_config().eos_token_id == sorted({close, *others})
