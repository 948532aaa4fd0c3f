"""SAM-2's mask decoder in few operations: what transformers' own gives, pair by pair."""

import copy

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoMaskDecoder

from desa2va.configuration.presets import preset_config
from desa2va.modeling_desa2va.mask_decoder import LeanMaskDecoder, draw_in_few_steps

WIDTH, PROMPTS = 64, 3


def pair(**fields):
    """transformers' decoder in the tiny preset's dimensions, and ours with the same weights."""
    torch.manual_seed(0)
    config = preset_config("tiny").sam_config.mask_decoder_config
    for name, value in fields.items():
        setattr(config, name, value)
    config._attn_implementation = "sdpa"
    plain = Sam2VideoMaskDecoder(config).eval()
    for parameter in plain.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    lean = copy.deepcopy(plain)
    draw_in_few_steps(lean)
    assert type(lean) is LeanMaskDecoder
    return plain, lean


def given(pairs, shared=True, grid=6, multimask=True):
    """What both decoders take: one frame for all pairs, or another for each."""
    torch.manual_seed(1)
    frames = 1 if shared else pairs

    def picture(channels, side):
        return torch.randn(frames, channels, side, side).expand(pairs, -1, -1, -1)

    return {
        "image_embeddings": picture(WIDTH, grid),
        "image_positional_embeddings": torch.randn(1, WIDTH, grid, grid).expand(pairs, -1, -1, -1),
        "sparse_prompt_embeddings": torch.randn(pairs, 1, PROMPTS, WIDTH),
        "dense_prompt_embeddings": picture(WIDTH, grid),
        "multimask_output": multimask,
        "high_resolution_features": [picture(WIDTH // 8, 4 * grid), picture(WIDTH // 4, 2 * grid)],
    }


def assert_near(found, expected):
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape
        torch.testing.assert_close(ours, theirs, atol=1e-5 * float(theirs.abs().max()), rtol=1e-5)


@pytest.mark.parametrize("grid", [4, 7])
@pytest.mark.parametrize("stability", [True, False])
@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize(("pairs", "shared"), [(1, True), (5, True), (5, False)])
@torch.no_grad()
def test_every_pair_is_drawn_as_transformers_draws_it(pairs, shared, multimask, stability, grid):
    """Guards against a head's, a place's or a child's numbers that end up at another's: every shape would be right."""
    plain, lean = pair(dynamic_multimask_via_stability=stability)
    inputs = given(pairs, shared, grid, multimask)
    assert_near(lean(**inputs), plain(**inputs))


@pytest.mark.parametrize("stability", [True, False])
@pytest.mark.parametrize("multimask", [True, False])
@torch.no_grad()
def test_the_best_alone_is_the_best_of_all(multimask, stability):
    """Pairs choose different masks here; a network of another mask would draw a plausible one."""
    plain, lean = pair(dynamic_multimask_via_stability=stability)
    inputs = given(12, shared=False, multimask=multimask)
    inputs["sparse_prompt_embeddings"] *= 5
    head = plain.iou_prediction_head
    head.sigmoid_output = False
    usual = plain(**inputs)[1].mean(dim=(0, 1))
    head.sigmoid_output = True
    for decoder in (plain, lean):
        decoder.iou_prediction_head.proj_out.bias[-len(usual) :] -= usual
    masks, iou, tokens, object_score = plain(**inputs)
    best = iou[:, 0].argmax(1)
    assert not multimask or len(best.unique()) > 1
    expected = [
        torch.stack([part[row, :, number, None] for row, number in enumerate(best)]) for part in (masks, iou, tokens)
    ]
    assert_near(lean(**inputs, best_only=True), (*expected, object_score))


@pytest.mark.parametrize("case", ["gradients", "training", "bfloat16", "two rows of prompts"])
def test_other_cases_are_left_to_transformers(case):
    """Bit for bit; and the best of three is chosen there too."""
    plain, lean = pair()
    inputs = given(4)
    if case == "training":
        plain.train(), lean.train()
    if case == "two rows of prompts":
        inputs["sparse_prompt_embeddings"] = torch.randn(4, 2, PROMPTS, WIDTH)
    with (
        torch.set_grad_enabled(case == "gradients"),
        torch.autocast("cpu", torch.bfloat16, enabled=case == "bfloat16"),
    ):
        expected = plain(**inputs)
        assert all(torch.equal(*parts) for parts in zip(lean(**inputs), expected, strict=True))
        if case != "two rows of prompts":
            masks, iou, *_ = lean(**inputs, best_only=True)
            best = expected[1][:, 0].argmax(1)
            assert torch.equal(iou[:, 0, 0], expected[1][range(4), 0, best])
            assert torch.equal(masks[:, 0, 0], expected[0][range(4), 0, best])


@torch.no_grad()
def test_weights_may_change_at_any_time():
    """Guards against a kept copy of weights: after a change in place, through `.data` too, it would draw old masks."""
    plain, lean = pair()
    inputs = given(2)
    lean(**inputs)
    for decoder in (plain, lean):
        for parameter in decoder.parameters():
            parameter.data.mul_(1.1)
    assert_near(lean(**inputs), plain(**inputs))
    state = {name: 0.5 * value for name, value in plain.state_dict().items()}
    for decoder in (plain, lean):
        decoder.load_state_dict(state)
    assert_near(lean(**inputs), plain(**inputs))


@torch.no_grad()
def test_one_picture_is_worked_on_once_before_the_first_layer():
    """Guards against products over the picture that grow with objects where they need not, and against projected
    places: nothing else tells.
    """
    _, lean = pair()
    with torch.profiler.profile(record_shapes=True) as profile:
        lean(**given(5, grid=8))
    shapes = [event.input_shapes for event in profile.events() if event.name == "aten::addmm"]
    assert shapes
    assert all(rows[1][0] <= 5 * (6 + PROMPTS) for rows in shapes)  # only tokens go through layers


@torch.no_grad()
def test_adapters_and_hooks_inside_are_heard():
    """Guards against weights that are read past what was put around them: an adapter did nothing, and nobody told."""
    for decoder in (adapted := pair()):
        torch.manual_seed(2)
        inject_adapter_in_model(LoraConfig(target_modules=["q_proj", "proj_out"], init_lora_weights=False), decoder)
    plain, lean = adapted
    inputs = given(2)
    assert_near(lean(**inputs), plain(**inputs))
    unchanged = pair()[0](**inputs)[0]
    assert not torch.allclose(lean(**inputs)[0], unchanged, atol=1e-2)
    called = []
    _, lean = pair()
    lean.transformer.layers[0].mlp.register_forward_hook(lambda *_: called.append(1))
    lean(**inputs)
    assert called
