"""Computed start values: each must do what it is for, or training starts from noise without a word."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from desa2va.modeling_desa2va.outputs import MaskPrediction
from desa2va.training import warm_start
from desa2va.training.label_states import LabelReader
from desa2va.training.objectives.base import model_inputs
from desa2va.training.projection_fit import fit_projection


def test_whitened_patches_have_unit_spread_and_no_mean():
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 16, 4, stride=4)
    pixels = torch.randn(20, 3, 32, 32) * torch.tensor([5.0, 1.0, 0.2])[None, :, None, None] + 3
    warm_start.whiten_patches(convolution, pixels, flat_after=8)
    out = convolution(pixels).detach().transpose(0, 1).flatten(1)
    torch.testing.assert_close(out.mean(dim=1), torch.zeros(16), rtol=0, atol=1e-3)
    torch.testing.assert_close(out.std(), torch.tensor(1.0), rtol=1e-2, atol=0)


@pytest.mark.parametrize("rank", [None, 16])
def test_label_prompts_do_not_collapse_to_the_loudest_factor(make_model, rank):
    """States that vary 20 times more along one direction: after whitening no direction holds most of the variance.

    A bottleneck is wide enough for ten directions.
    """
    model = make_model(projection_rank=rank)
    states = torch.randn(200, 128) * torch.cat([torch.full((1,), 20.0), torch.ones(9), torch.zeros(118)])
    warm_start.whiten_labels(model, lambda phrases: states, [str(i) for i in range(200)])
    prompts = model.decoupling.label(states).detach()
    share = torch.linalg.svdvals(prompts - prompts.mean(0)).square()
    assert share[0] / share.sum() < 0.15
    assert (share / share.sum() > 0.05).sum() == 10
    torch.testing.assert_close(prompts.std(dim=0).square().mean().sqrt(), torch.tensor(0.8), rtol=0.1, atol=0)


def test_a_narrow_bottleneck_keeps_the_loudest_directions_of_labels(make_model):
    """Four of ten directions pass, equally loud, and prompts keep their deviation."""
    model = make_model(projection_rank=4)
    states = torch.randn(200, 128) * torch.cat([torch.full((4,), 5.0), torch.ones(6), torch.zeros(118)])
    warm_start.whiten_labels(model, lambda phrases: states, [str(i) for i in range(200)])
    prompts = model.decoupling.label(states).detach()
    share = torch.linalg.svdvals(prompts - prompts.mean(0)).square()
    assert (share / share.sum() > 0.2).sum() == 4
    quiet = torch.cat([torch.zeros(200, 4), states[:, 4:]], dim=1)
    assert model.decoupling.label(quiet).std(dim=0).max() < 0.1
    torch.testing.assert_close(prompts.std(dim=0).square().mean().sqrt(), torch.tensor(0.8), rtol=0.1, atol=0)


def test_fitted_prompts_resemble_what_they_replace(make_model, processor, scenes):
    """W_t of [SEG] states must land nearer to W_l of the labels, W_v nearer to the clicks, than their own spread."""
    model = make_model()
    reader = LabelReader(model, processor.tokenizer)
    batches = [processor.collate(scenes[i : i + 4]) for i in (0, 4)]
    seen = warm_start.read_seg_states(model, batches, reader)
    fit_projection(model.decoupling.text, seen.states, seen.labels)
    fit_projection(model.decoupling.visual, seen.states, seen.clicks)
    with torch.no_grad():
        output = model(**model_inputs(batches[0]))
    count = len(output.seg_states)
    for prompts, target in ((output.text_prompts, seen.labels), (output.visual_prompts, seen.clicks)):
        error = (prompts[:, 0] - target[:count]).square().mean()
        assert error < 0.6 * target.var(dim=0).mean()


def test_a_click_prompt_is_sam_s_own_embedding_of_a_pixel_inside(model):
    """A ring's centroid lies outside the ring; the click must not."""
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    radius = ((x - 20) ** 2 + (y - 40) ** 2).sqrt()
    ring = ((radius < 15) & (radius > 8)).to(torch.uint8)
    prompt = warm_start.click_prompts(model, [ring])
    encoder = model.segmenter.sam.prompt_encoder
    inside = ring.nonzero().flip(1).float()
    candidates = encoder._embed_points(
        ((inside + 0.5) * 2 - 0.5)[:, None, None], torch.ones(len(inside), 1, 1, dtype=torch.int32), pad=False
    )[:, 0, 0]
    assert (candidates - prompt).abs().amax(dim=1).min() < 1e-5


def test_visual_decoder_becomes_the_text_decoder(make_model):
    model = make_model()
    warm_start.visual_from_text(model)
    for a, b in zip(
        model.segmenter.text_decoder.parameters(), model.segmenter.visual_decoder.parameters(), strict=True
    ):
        assert torch.equal(a, b)
        assert a is not b


def test_a_gate_that_favours_the_visual_mask_starts_there(make_model):
    model = make_model()
    warm_start.favour_visual(model)
    prompts = torch.zeros(2, model.config.prompt_dim)
    masks = MaskPrediction(torch.zeros(2, 4, 4), torch.zeros(2), torch.zeros(2), prompts)
    gate = model.fusion.gate_logits(masks, masks, prompts, prompts).sigmoid()
    assert gate.min() > 0.75
    warm_start.favour_visual(make_model(fusion="mean"))  # has no gate to set


def test_one_process_computes_and_the_others_receive(make_model, monkeypatch):
    """Every process used to read its 960 samples itself, on the CPU."""
    first, second = make_model(seed=0), make_model(seed=1)
    arguments = SimpleNamespace(process_index=0, warm_start=["favour_visual"])
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    sent = []
    monkeypatch.setattr(torch.distributed, "broadcast", lambda value, source: sent.append(value.clone()))
    warm_start.run_warm_start(first, None, None, None, arguments)
    arguments.process_index = 1
    monkeypatch.setattr(warm_start, "favour_visual", lambda model: pytest.fail("only the first process computes"))
    received = iter(sent)
    monkeypatch.setattr(torch.distributed, "broadcast", lambda value, source: value.copy_(next(received)))
    warm_start.run_warm_start(second, None, None, None, arguments)
    other = second.state_dict()
    for name, value in first.state_dict().items():
        assert torch.equal(other[name], value), name
