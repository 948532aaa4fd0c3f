"""The projections of Eq. 1 and 2."""

import pytest
import torch

from desa2va.modeling_desa2va.decoupling import Decoupling, Projection


def test_linear_is_the_paper_s_equation():
    layer = Projection("linear", 5, 3)
    x = torch.randn(2, 5)
    weight, bias = layer.layers[0].weight, layer.layers[0].bias
    torch.testing.assert_close(layer(x), x @ weight.T + bias)


def test_two_different_prompts_from_one_state():
    torch.manual_seed(0)
    text, visual = Decoupling("desa2va", "linear", 5, 3)(torch.randn(2, 5))
    assert text.shape == visual.shape == (2, 3)
    assert not torch.allclose(text, visual)


def test_baseline_has_one_projection():
    heads = Decoupling("sa2va", "mlp", 5, 3)
    text, visual = heads(torch.randn(2, 5))
    assert text is None
    assert sorted(name.split(".")[0] for name, _ in heads.named_parameters()) == ["visual"] * 4


def test_unknown_kind():
    with pytest.raises(ValueError, match="linear or mlp"):
        Projection("cubic", 5, 3)
