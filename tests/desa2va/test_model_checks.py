"""A folder whose parts do not belong together is refused when it is loaded, not when its masks are wrong."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from desa2va import hub
from desa2va.model_checks import check_together, not_finite


@pytest.fixture
def copy(saved_model, tmp_path):
    """A copy of the model's folder that may be changed."""
    return shutil.copytree(saved_model, tmp_path / "model")


def change(path, *place, value):
    content = json.loads(path.read_text())
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "of a model of type None"),
        ({"model_type": "bert"}, "model_type='bert' is not supported"),
        ({"model_type": "desa2va"}, "mllm_config lacks model_type, text_config, vision_config"),
        ({"model_type": "desa2va", "mllm_config": {"model_type": "internvl"}}, "lacks text_config, vision_config"),
    ],
)
def test_a_configuration_that_describes_nothing_builds_nothing(copy, content, message, monkeypatch):
    """`{}` took 6 GB, those of the defaults, before a word was said."""
    (copy / "config.json").write_text(json.dumps(content))
    monkeypatch.setattr(hub.DeSa2VAModel, "from_pretrained", lambda *_, **__: pytest.fail("the model was built"))
    with pytest.raises(ValueError, match=f"config.json.*{message}"):
        hub.load(copy, device="cpu")


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("mllm_config", "text_config", "vocab_size"), 10**9, "million parameters, the weights beside it hold"),
        (("mllm_config", "text_config", "hidden_size"), 10**12, "larger than anything"),
        (("mllm_config", "text_config", "num_hidden_layers"), 10**9, "larger than anything"),
        (("mllm_config", "text_config", "num_hidden_layers"), 10**400, "larger than anything|is no JSON|JSON"),
        (("mllm_config", "vision_config"), 5, "mllm_config|vision_config"),
        (("mllm_config", "model_type"), "none", "knows no model_type 'none'"),
        (("sam_config", "image_size"), "big", "sam_config"),
        (("num_reprompts",), 10**6, "num_reprompts=1000000 must be an integer from 0 to 16"),
        (("num_key_frames",), 10**9, "num_key_frames=1000000000 must be an integer from 1 to 1024"),
        (("reprompt_guard",), "yes", "must be true or false"),
        (("mask_threshold",), "0", "a logit from"),
        (("seg_token_ids",), 6, "must be a list of integers"),
        (("seg_token_ids",), [7], r"the ids of \[SEG\] differs, \[6\] in the processor, \[7\] in config.json"),
    ],
)
def test_a_configuration_with_absurd_values_is_one_error(copy, place, value, message):
    """They ran for days, filled the memory, or raised whatever a library stumbled over; other ids segment nothing."""
    change(copy / "config.json", *place, value=value)
    with pytest.raises(ValueError, match=message):
        hub.load(copy, device="cpu")


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("max_tiles",), 10**7, "max_tiles=10000000 must be at most 256"),
        (("image_seq_length",), 10**9, "image_seq_length=1000000000 must be at most 16384"),
        (("image_seq_length",), 17, "image_seq_length differs, 17 in the processor, 16 in config.json"),
        (("max_length",), -1, "max_length=-1 must be"),
        (("merge_size",), 2.5, "merge_size=2.5 must be"),
        (("key_frames",), "auto", "key_frames='auto' is unknown"),
        (("seg_tokens",), [5], "must be a list of texts"),
        (("gcg_instruction",), 5, "gcg_instruction must be a text"),
        (("mllm_type",), "other", "mllm_type='other' is unknown"),
    ],
)
def test_a_processor_with_absurd_values_is_one_error(copy, place, value, message):
    """A number from 1 that a user may set needs an end, and a sentence when it is passed."""
    change(copy / "processor_config.json", *place, value=value)
    with pytest.raises(ValueError, match=message):
        hub.load(copy, device="cpu")


def test_a_chat_template_that_can_not_be_rendered_is_told_at_once(copy):
    """It would fail with the first question, in a library's words."""
    (copy / "chat_template.jinja").write_text("{% for i in range(10**10) %}{{ i }}{% endfor %}")
    with pytest.raises(ValueError, match="the chat template can not be rendered"):
        hub.load(copy, device="cpu")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(copy, value):
    """They gave exit code 0 and NaN in result.json; only the doctor knew."""
    weights = load_file(copy / "model.safetensors")
    name = next(name for name in weights if name.startswith("fusion"))
    weights[name].view(-1)[-1] = value
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=f"no finite numbers: {name}"):
        hub.load(copy, device="cpu")


def test_a_sample_bounds_what_is_looked_at():
    module = torch.nn.Linear(100, 100)
    assert not_finite(module, 10) == []
    with torch.no_grad():
        module.weight[50, 50] = torch.nan
    assert not_finite(module) == ["weight"]
    module.weight.data.fill_(torch.nan)
    assert not_finite(module, 10) == ["weight"]
    with torch.device("meta"):
        assert not_finite(torch.nn.Linear(2, 2)) == []


def test_the_shipped_model_belongs_together(shipped):
    check_together(*shipped, "desa2va-tiny")


@pytest.mark.parametrize("dtype", ["foo", "int8", "Tensor", torch.int64, 5, "__name__"])
def test_types_that_weights_can_not_have_are_named(dtype):
    with pytest.raises(ValueError, match="no type of weights; choose float32"):
        hub.load(dtype=dtype)
