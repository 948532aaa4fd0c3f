"""What a stage takes over from the model it starts from."""

import logging

import torch

from desa2va.training.stage_model import with_fields


def test_projections_of_another_shape_start_afresh_and_the_log_says_so(make_model, caplog):
    """Guards against half of an old projection in a new one, and against fresh ones too small to be heard."""
    model = make_model()
    with caplog.at_level(logging.INFO):
        changed = with_fields(model, {"projection_rank": 16})
    assert [record.message.split()[0] for record in caplog.records] == [
        "decoupling.visual",
        "decoupling.text",
        "decoupling.label",
    ]
    prompts = changed.decoupling.text(torch.randn(500, 128))
    assert 0.8 < prompts.std() < 1.25
    others = {name: value for name, value in model.state_dict().items() if not name.startswith("decoupling.")}
    kept = changed.state_dict()
    assert all(torch.equal(kept[name], value) for name, value in others.items())


def test_a_projection_that_keeps_its_shape_keeps_its_weights(make_model):
    """The label's projection is linear whatever the others are."""
    model = make_model(projection_rank=16)
    changed = with_fields(model, {"projection": "mlp"})
    for name, value in model.decoupling.label.state_dict().items():
        assert torch.equal(changed.decoupling.label.state_dict()[name], value)
    assert changed.decoupling.text.layers[0].weight.shape == (128, 128)
    bare = with_fields(model, {"prompt_mode": "sa2va"})
    assert torch.equal(bare.decoupling.visual.layers[0].weight, model.decoupling.visual.layers[0].weight)


def test_a_square_first_layer_is_not_taken_for_the_old_map(make_model):
    """With a bottleneck as wide as the prompt, the inner matrix has the shape of the old whole one."""
    model = make_model()
    changed = with_fields(model, {"projection_rank": 64})
    assert not torch.equal(changed.decoupling.visual.layers[0].weight, model.decoupling.visual.layers[0].weight)
