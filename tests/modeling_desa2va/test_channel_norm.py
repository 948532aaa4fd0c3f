"""Norms over few channels: what transformers' own give."""

import copy

import pytest
import torch
from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoLayerNorm

from desa2va.modeling_desa2va.channel_norm import FewChannelNorm, norm_all_places_at_once


def pair(channels, data_format="channels_first"):
    """transformers' norm and what it is turned into, with the same weights."""
    torch.manual_seed(0)
    plain = Sam2VideoLayerNorm(channels, data_format=data_format)
    torch.nn.init.normal_(plain.weight)
    torch.nn.init.normal_(plain.bias)
    ours = copy.deepcopy(plain)
    norm_all_places_at_once(ours)
    return plain, ours


@pytest.mark.parametrize("channels", [1, 4, 16])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 100.0])
@torch.no_grad()
def test_places_are_normed_as_by_transformers(channels, scale):
    """Odd sizes, an offset much larger than what varies, and values so small that epsilon counts."""
    plain, ours = pair(channels)
    assert type(ours) is FewChannelNorm
    features = scale * (torch.randn(3, channels, 7, 5) + 10)
    given = features.clone()
    torch.testing.assert_close(ours(features), plain(features), atol=2e-5, rtol=1e-5)
    assert torch.equal(features, given)


@pytest.mark.parametrize("case", ["gradients", "bfloat16", "turned"])
def test_other_cases_are_left_to_transformers(case):
    """Bit for bit."""
    plain, ours = pair(4)
    features = torch.randn(2, 4, 6, 6)
    if case == "turned":
        features = features.to(memory_format=torch.channels_last)
    with (
        torch.set_grad_enabled(case == "gradients"),
        torch.autocast("cpu", torch.bfloat16, enabled=case == "bfloat16"),
    ):
        assert torch.equal(ours(features), plain(features))


def test_other_norms_stay_as_they_are():
    """Many channels are faster place by place; channels that are last are laid out otherwise."""
    assert type(pair(64)[1]) is Sam2VideoLayerNorm
    assert type(pair(4, "channels_last")[1]) is Sam2VideoLayerNorm


def test_the_networks_that_read_masks_have_them(model):
    """Guards against a rename that leaves SAM-2 as it was, which nothing but the clock would tell."""
    sam = model.segmenter.sam
    for network in (sam.memory_encoder, sam.prompt_encoder):
        kinds = [type(module) for module in network.modules()]
        assert kinds.count(FewChannelNorm) == 2
