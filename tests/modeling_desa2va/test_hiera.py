"""SAM-2's image encoder in the order of windows: what transformers' own gives, place by place."""

import copy

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from transformers import AutoModel
from transformers.models.sam2.configuration_sam2 import Sam2VisionConfig
from transformers.models.sam2.modeling_sam2 import Sam2HieraDetModel, Sam2VisionNeck

from desa2va.configuration.presets import preset_config
from desa2va.modeling_desa2va import hiera
from desa2va.modeling_desa2va.hiera import LeanHiera, LeanNeck, order_by_windows
from desa2va.modeling_desa2va.image_encoder import read_only_what_counts


def four_stages(**fields):
    """SAM 2.1's four stages, its windows and where it looks at a whole image, in miniature."""
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 8,
        "num_attention_heads": 1,
        "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 2, 4, 8],
        "blocks_per_stage": [1, 2, 3, 2],
        "global_attention_blocks": [4],
        "window_size_per_stage": [8, 4, 14, 7],
        "window_positional_embedding_background_size": [7, 5],
    }
    return Sam2VisionConfig(
        backbone_config=backbone | fields, backbone_channel_list=[64, 32, 16, 8], fpn_hidden_size=16
    )


def pair(config):
    """transformers' encoder, and ours with the same weights."""
    torch.manual_seed(0)
    plain = AutoModel.from_config(config).eval()
    for parameter in plain.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    lean = copy.deepcopy(plain)
    read_only_what_counts(lean)
    order_by_windows(lean)
    assert {LeanHiera, LeanNeck} <= {type(module) for module in lean.modules()}
    return plain, lean


def assert_near(found, expected):
    """All levels, codes and the last state, to 1e-5 of the largest."""
    for name in ("fpn_hidden_states", "fpn_position_encoding"):
        for ours, theirs in zip(found[name], expected[name], strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-5 * float(theirs.abs().max()), rtol=1e-5)
    theirs = expected.last_hidden_state
    torch.testing.assert_close(found.last_hidden_state, theirs, atol=1e-5 * float(theirs.abs().max()), rtol=1e-5)


def count_by_hand(monkeypatch):
    """A list that grows with every call of the steps of our own."""
    calls, steps = [], LeanHiera._embedded
    monkeypatch.setattr(LeanHiera, "_embedded", lambda *given: calls.append(1) or steps(*given))
    return calls


@pytest.mark.parametrize("at_once", [1, 100, 2048])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(("height", "width"), [(256, 256), (128, 320), (512, 192)])
@torch.no_grad()
def test_every_place_is_what_transformers_makes_of_it(monkeypatch, height, width, batch, at_once):
    """Windows cut by one edge, both or none, with places of padding; an image or a window that is given another's
    numbers would have every shape right.
    """
    monkeypatch.setattr(hiera, "PLACES_AT_ONCE", at_once)
    calls = count_by_hand(monkeypatch)
    plain, lean = pair(four_stages())
    pixels = torch.randn(batch, 3, height, width)
    given = pixels.clone()
    assert_near(lean(pixels), plain(pixels))
    assert len(calls) == 1
    assert torch.equal(pixels, given)


@pytest.mark.parametrize(
    "fields",
    [
        {"window_size_per_stage": [8, 4, 16, 8]},  # SAM-2 large
        {"num_query_pool_stages": 2},
        {"global_attention_blocks": [2, 4, 5]},
        {"hidden_act": "relu"},
        {"global_attention_blocks": [0]},  # begins with a whole image
    ],
)
@torch.no_grad()
def test_other_networks_are_near_too(fields):
    """The last one is left to transformers."""
    plain, lean = (encoder.backbone for encoder in pair(four_stages(**fields)))
    pixels = torch.randn(2, 3, 256, 256)
    for ours, theirs in zip(*(net(pixels).intermediate_hidden_states for net in (lean, plain)), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5 * float(theirs.abs().max()), rtol=1e-5)


@torch.no_grad()
def test_the_tiny_preset():
    """Three stages, and a top-down sum at each level."""
    plain, lean = pair(preset_config("tiny").sam_config.vision_config)
    pixels = torch.randn(2, 3, *plain.config.backbone_config.image_size)
    assert_near(lean(pixels), plain(pixels))


@torch.no_grad()
def test_outputs_are_in_memory_of_their_own():
    """Steps in place must not reach a stage that was given out already, nor the weights."""
    lean = pair(four_stages())[1]
    pixels = torch.randn(1, 3, 256, 256)
    weights = copy.deepcopy(lean.state_dict())
    first = lean(pixels)
    kept = copy.deepcopy(first)
    lean(torch.randn(1, 3, 256, 256))
    for name in ("fpn_hidden_states", "fpn_position_encoding"):
        assert all(map(torch.equal, first[name], kept[name]))
    assert all(map(torch.equal, lean.state_dict().values(), weights.values()))


@pytest.mark.parametrize("case", ["gradients", "autocast", "bfloat16", "adapter", "hook", "recorded"])
def test_other_cases_are_left_to_transformers(monkeypatch, case):
    """Bit for bit, and what an adapter adds is there."""
    calls = count_by_hand(monkeypatch)
    plain, lean = pair(four_stages())
    read_only_what_counts(plain)
    pixels = torch.randn(1, 3, 128, 128)
    seen = []
    if case == "bfloat16":
        plain, lean, pixels = plain.bfloat16(), lean.bfloat16(), pixels.bfloat16()
    if case == "adapter":
        for encoder in (plain, lean):
            torch.manual_seed(2)
            inject_adapter_in_model(LoraConfig(target_modules=["qkv"], init_lora_weights=False), encoder)
    if case == "hook":
        lean.backbone.blocks[1].mlp.register_forward_hook(lambda *given: seen.append(1))
    asked = {"output_hidden_states": True} if case == "recorded" else {}
    with torch.set_grad_enabled(case == "gradients"), torch.autocast("cpu", torch.bfloat16, case == "autocast"):
        found, expected = lean(pixels, **asked), plain(pixels, **asked)
    assert not calls
    assert len(seen) == (case == "hook")
    assert all(map(torch.equal, found.fpn_hidden_states, expected.fpn_hidden_states))
    if case == "recorded":
        assert len(found.hidden_states) == len(expected.hidden_states) > 0
        assert all(map(torch.equal, found.hidden_states, expected.hidden_states))


@torch.no_grad()
def test_changed_weights_are_read():
    """Guards against copies: of position codes, of biases as keys of the padding."""
    plain, lean = pair(four_stages())
    pixels = torch.randn(1, 3, 256, 256)
    lean(pixels)
    for encoder in (plain, lean):
        torch.manual_seed(3)
        for parameter in encoder.parameters():
            parameter.data = torch.randn_like(parameter) * 0.2
    assert_near(lean(pixels), plain(pixels))


@torch.no_grad()
def test_nothing_is_padded_or_made_anew():
    """Guards against sines at every call of four levels, and padded windows."""
    lean = pair(four_stages())[1]
    pixels = torch.randn(1, 3, 256, 256)
    lean(pixels)
    with torch.profiler.profile() as profile:
        lean(pixels)
    names = {event.key for event in profile.key_averages()}
    assert "aten::addmm" in names
    assert not names & {"aten::sin", "aten::pad", "aten::constant_pad_nd", "aten::max_pool2d"}


def test_weights_and_copies_are_as_before():
    plain, lean = pair(four_stages())
    assert list(plain.state_dict()) == list(lean.state_dict())
    assert sum(type(module) is LeanHiera for module in copy.deepcopy(lean).modules()) == 1
    assert not any(type(module) in (LeanHiera, LeanNeck) for module in plain.modules())
    assert {type(plain.backbone), type(plain.neck)} == {Sam2HieraDetModel, Sam2VisionNeck}
