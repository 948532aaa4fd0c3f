"""The configuration: defaults, round trips, and errors that name the field."""

import json

import pytest
from transformers import AutoConfig

from desa2va.configuration.configuration_desa2va import DeSa2VAConfig
from desa2va.configuration.presets import preset_config, preset_names, tiny_config
from desa2va.processing.processing_desa2va import DeSa2VAProcessor


def test_no_arguments_give_a_printable_configuration():
    """Sa2VA's configuration raises inside `__repr__` and takes `from_pretrained` down with it."""
    config = DeSa2VAConfig()
    assert config.mllm_config.model_type == "internvl"
    assert config.mask_size == 256
    assert "sam_config" in repr(config)


def test_auto_config_without_arguments():
    import desa2va.auto  # noqa: F401

    assert isinstance(AutoConfig.for_model("desa2va"), DeSa2VAConfig)


@pytest.mark.parametrize("name", preset_names())
def test_json_round_trip(name, tmp_path):
    config = preset_config(name, num_reprompts=2, fusion="pixel")
    config.save_pretrained(tmp_path)
    again = DeSa2VAConfig.from_pretrained(tmp_path)
    assert again.to_dict() == config.to_dict()
    assert json.loads((tmp_path / "config.json").read_text())["fusion"] == "pixel"
    assert type(again.mllm_config) is type(config.mllm_config)


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("prompt_mode", "lisa", "desa2va, sa2va"),
        ("fusion", "sum", "gate, mean, pixel"),
        ("projection", "", "linear, mlp"),
        ("projection_rank", 0, "from 1 to 256, or null"),
        ("projection_rank", 257, "from 1 to 256, or null"),
        ("projection_hidden", True, "from 1 to 65536, or null"),
        ("projection_hidden", 32, "of projection='mlp'"),
        ("num_reprompts", -1, "from 0 to 16"),
        ("num_reprompts", 1_000_000, "from 0 to 16"),
        ("reprompt_guard", 1, "true or false"),
        ("object_score_threshold", float("nan"), "finite number, a logit"),
        ("mllm_config", [], "a configuration or a dictionary"),
        ("sam_config", "tiny", "a configuration or a dictionary"),
        ("num_key_frames", 0, "from 1 to 1024"),
        ("num_key_frames", 2.5, "from 1 to 1024"),
        ("num_seg_frames", 3, "one token per object"),
        ("seg_token_ids", [10**9], "vocabulary"),
        ("seg_token_ids", [1, 2], "needs 1"),
        ("track_strategy", "magic", "consistent, memory, per_frame"),
        ("mask_threshold", None, "finite number"),
        ("object_score_threshold", float("nan"), "finite number"),
    ],
)
def test_an_impossible_value_is_named(field, value, named):
    with pytest.raises(ValueError, match=named) as error:
        DeSa2VAConfig(**{field: value})
    assert field in str(error.value) or "seg_design" in str(error.value)


def test_what_passes_by_a_bottleneck_is_refused():
    with pytest.raises(ValueError, match="temporal='motion' would pass by"):
        preset_config("tiny", temporal="motion", projection_rank=8)


def test_unknown_preset_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"'2t'.*tiny.*qwen3-vl-4b"):
        preset_config("2t")


def test_tiny_ids_are_where_the_tokenizer_puts_them(processor: DeSa2VAProcessor):
    """The preset's ids are constants; a tokenizer that moves them would silently break padding and image tokens."""
    config = preset_config("tiny")
    tokenizer = processor.tokenizer
    assert config.mllm_config.image_token_id == tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>")
    assert config.get_text_config().pad_token_id == tokenizer.pad_token_id
    assert config.get_text_config().eos_token_id == tokenizer.eos_token_id
    assert len(tokenizer) <= config.get_text_config().vocab_size


@pytest.mark.parametrize("side", [100, 32, 8192, 128.0, "128", True])
def test_a_size_that_the_encoder_cannot_halve_is_an_error(side):
    config = tiny_config()
    with pytest.raises(ValueError, match="image_size=.* must be a multiple of 32 from 64 to 4096"):
        config.image_size = side
    assert config.image_size == 128


def test_sam2_of_published_size_takes_smaller_pictures():
    """Guards against a table that is left at the old size: memory attention's places are those of the coarsest map."""
    config = DeSa2VAConfig()
    config.image_size = 512
    sam = DeSa2VAConfig.from_dict(config.to_dict()).sam_config
    assert sam.vision_config.backbone_feature_sizes == [[128, 128], [64, 64], [32, 32]]
    assert (sam.memory_attention_rope_feat_sizes, sam.prompt_encoder_config.image_size) == ([32, 32], 512)
