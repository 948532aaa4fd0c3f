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


def numbers(module):
    return sum(value.numel() for value in module.parameters())


@pytest.mark.parametrize(
    ("kind", "rank", "hidden", "expected"),
    [
        ("linear", None, None, 12 * 8 + 8),
        ("linear", 3, None, 12 * 3 + 3 * 8 + 8),
        ("mlp", None, None, 12 * 12 + 12 + 12 * 8 + 8),
        ("mlp", None, 5, 12 * 5 + 5 + 5 * 8 + 8),
        ("mlp", 3, None, 12 * 12 + 12 + 12 * 3 + 3 * 8 + 8),
        ("mlp", 3, 5, 12 * 5 + 5 + 5 * 3 + 3 * 8 + 8),
    ],
)
def test_a_bottleneck_and_an_inner_width_have_the_parameters_they_should(kind, rank, hidden, expected):
    assert numbers(Projection(kind, 12, 8, rank, hidden)) == expected


def test_every_projection_passes_the_bottleneck():
    """One that did not would be the way around it: text, visual and label prompts each span three directions."""
    heads = Decoupling("desa2va", "mlp", 12, 8, rank=3)
    states = torch.randn(50, 12)
    for prompts in (*heads(states), heads.label(states)):
        assert torch.linalg.matrix_rank(prompts - prompts.mean(dim=0), rtol=1e-4) == 3


def test_gradients_reach_every_layer_of_a_bottleneck():
    heads = Decoupling("desa2va", "mlp", 12, 8, rank=3, hidden=20)
    states = torch.randn(9, 12)
    (sum(prompts.square().sum() for prompts in heads(states)) + heads.label(states).square().sum()).backward()
    assert all(value.grad.abs().sum() > 0 for value in heads.parameters())


def test_without_the_options_names_are_those_of_older_checkpoints():
    assert sorted(Projection("linear", 12, 8).state_dict()) == ["layers.0.bias", "layers.0.weight"]
    mlp = ["layers.0.bias", "layers.0.weight", "layers.2.bias", "layers.2.weight"]
    assert sorted(Projection("mlp", 12, 8).state_dict()) == mlp
    assert sorted(Projection("mlp", 12, 8, hidden=5).state_dict()) == mlp


def test_a_model_with_a_bottleneck_is_saved_and_loaded(make_model, tmp_path):
    """Its configuration must say the shape, or the projections would come back fresh."""
    model = make_model(projection="mlp", projection_rank=4, projection_hidden=24)
    model.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path)
    for name, value in model.decoupling.state_dict().items():
        assert torch.equal(loaded.decoupling.state_dict()[name], value), name
    assert loaded.decoupling.visual.layers[0].out_features == 24
