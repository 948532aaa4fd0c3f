"""A video against its shuffled copy: what stays in h_v, what h_m must carry, and what it costs."""

import pytest
import torch

from desa2va.training.arguments import DeSa2VATrainingArguments, MaskLossArguments
from desa2va.training.data.refshapes.dataset import RefShapes
from desa2va.training.objectives.base import model_inputs
from desa2va.training.objectives.masks import DecouplingObjective
from desa2va.training.objectives.temporal import TemporalTerms, image_runs, read_shuffled, shuffled_order
from desa2va.training.phases import free_parameters, trainable_prefixes

LOSS = MaskLossArguments(mask_target_size=32)
BOTH = {"motion_invariance": 1.0, "motion_order": 1.0}
IMAGE = 5


@pytest.fixture(scope="module")
def video_batch(processor):
    """A picture, two videos of four frames and one of two; attributes, so that every conversation has one object."""
    options = {"conversations": 2, "kinds": {"attribute": 1.0}, "length": 4}
    long = RefShapes("train", video_fraction=1.0, num_frames=4, **options)
    short = RefShapes("train", video_fraction=1.0, num_frames=2, **options)
    return processor.collate([RefShapes("train", **options)[0], long[0], long[1], short[2]])


@pytest.fixture(scope="module")
def moving(make_model):
    """A tiny model whose W_m is far from zero."""
    model = make_model(temporal="motion")
    torch.manual_seed(4)
    torch.nn.init.normal_(model.decoupling.motion.weight, std=0.1)
    return model


def count_language_passes(model, run):
    seen = []
    layers = model.mllm.model.language_model
    hook = layers.register_forward_hook(lambda m, a, k, o: seen.append(len(k["inputs_embeds"])), with_kwargs=True)
    tower = model.mllm.model.vision_tower.register_forward_hook(lambda m, a, o: seen.append("tower"))
    result = run()
    hook.remove()
    tower.remove()
    return seen, result


def test_shuffled_orders_are_never_true_and_never_merely_reversed():
    """The identity would be taught as shuffled; a film run backwards is an ordered film."""
    torch.manual_seed(0)
    orders = {tuple(shuffled_order(3)) for _ in range(100)}
    assert orders == {(0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1)}
    assert {tuple(shuffled_order(2)) for _ in range(20)} == {(1, 0)}


def test_images_are_counted_by_their_runs():
    ids = torch.tensor([[1, IMAGE, IMAGE, 2, IMAGE, IMAGE], [IMAGE, 1, 1, 1, 1, IMAGE], [1, 1, 1, 1, 1, 1]])
    assert image_runs(ids, IMAGE).tolist() == [2, 2, 0]


@torch.no_grad()
def test_the_copy_is_the_video_with_its_frames_in_that_order(moving, video_batch, monkeypatch):
    """Same as a batch whose `image_index` was permuted by hand; nothing is encoded a second time."""
    from desa2va.training.objectives import temporal

    monkeypatch.setattr(temporal, "shuffled_order", lambda count: list(range(count))[1:] + [0])
    output = moving(**model_inputs(video_batch))
    runs = image_runs(video_batch["input_ids"], IMAGE)
    assert runs.tolist() == [1, 1, 4, 4, 4, 4, 2, 2]
    rows = torch.tensor([2, 3, 5])
    seen, (copied, sequence) = count_language_passes(
        moving, lambda: read_shuffled(moving, video_batch, output.image_features, runs, rows)
    )
    assert seen == [3]
    assert sequence.tolist() == [0, 1, 2]
    parts = list(video_batch["image_index"].split(runs.tolist()))
    for row in rows.tolist():
        parts[row] = parts[row].roll(-1)
    by_hand = moving(**{**model_inputs(video_batch), "image_index": torch.cat(parts)})
    torch.testing.assert_close(copied.visual, by_hand.visual_prompts[rows], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(copied.motion, by_hand.motion_prompts[rows], rtol=1e-3, atol=1e-4)
    assert (copied.visual - output.visual_prompts[rows]).abs().max() > 1e-3


def test_no_weight_no_cost(moving, video_batch):
    """Weight 0: one pass of the language model, no head, no term."""
    objective = DecouplingObjective(moving, LOSS, None, {"visual_mask": 1.0, "motion_order": 0.0}, 0)
    assert objective.heads() == {}
    seen, output = count_language_passes(moving, lambda: objective(**video_batch))
    assert seen == ["tower", 8]
    assert not [name for name in output["terms"] if name.startswith("motion")]


def test_pictures_alone_cost_nothing_and_keep_the_head_in_the_graph(moving, batch):
    objective = DecouplingObjective(moving, LOSS, None, BOTH, 0)
    seen, output = count_language_passes(moving, lambda: objective(**batch))
    assert len(seen) == 2
    assert output["terms"]["motion_invariance"] == output["terms"]["motion_order"] == 0
    output["terms"]["motion_order"].backward()
    assert objective.temporal.order_head.weight.grad is not None
    assert "order_accuracy" not in output["metrics"]


@pytest.mark.parametrize(("share", "read"), [(1.0, 6), (0.0, 0)])
def test_share_of_the_sequences_read_again(moving, video_batch, share, read):
    objective = DecouplingObjective(moving, LOSS, None, BOTH, 0, share)
    seen, _ = count_language_passes(moving, lambda: objective(**video_batch))
    assert seen == ["tower", 8] + [read] * bool(read)


def test_sequences_without_objects_are_not_read_again(moving, processor):
    """A no-target answer has nothing to compare."""
    dataset = RefShapes(
        "train", conversations=1, length=60, video_fraction=1.0, num_frames=3, kinds={"no_target": 1.0}
    )
    batch = processor.collate([dataset[0], dataset[1]])
    objective = DecouplingObjective(moving, LOSS, None, BOTH, 0)
    seen, _ = count_language_passes(moving, lambda: objective(**batch))
    assert seen == ["tower", 2]


def test_a_model_that_ignores_order_is_invariant(make_model, video_batch):
    """Constructed: the projector says the same of every picture, so no order can be seen."""
    model = make_model(temporal="motion")
    terms = TemporalTerms(model.config, BOTH)
    blind = make_model(temporal="motion")
    with torch.no_grad():
        for parameter in blind.mllm.model.multi_modal_projector.parameters():
            parameter.zero_()
        seeing, unseeing = (
            terms(one, video_batch, one(**model_inputs(video_batch)))[0]["motion_invariance"] for one in (model, blind)
        )
    assert seeing > 1e-4
    assert unseeing < 1e-9


def test_invariance_leaves_phrases_about_order_alone(moving, processor):
    """ "the circle moving to the left" means another circle, or none, when the frames are shuffled."""
    dataset = RefShapes("train", conversations=1, length=200, video_fraction=1.0, num_frames=4, kinds={"motion": 1.0})
    samples = [s for s in (dataset[i] for i in range(40)) if s.conversations[0].kind == "motion"][:2]
    assert len(samples) == 2
    batch = processor.collate(samples)
    values, _ = TemporalTerms(moving.config, BOTH)(moving, batch, moving(**model_inputs(batch)))
    assert values["motion_invariance"] == 0
    assert values["motion_order"] > 0


def test_two_frames_tell_no_order(moving, processor):
    dataset = RefShapes("train", conversations=1, length=4, video_fraction=1.0, num_frames=2, kinds={"attribute": 1.0})
    batch = processor.collate([dataset[0], dataset[1]])
    values, metrics = TemporalTerms(moving.config, BOTH)(moving, batch, moving(**model_inputs(batch)))
    assert values["motion_order"] == 0
    assert metrics == {}
    assert values["motion_invariance"] > 0


def test_order_head_learns_a_synthetic_order(moving):
    """h_m of true videos points elsewhere than that of copies: head and prompts separate them within some steps."""
    torch.manual_seed(0)
    terms = TemporalTerms(moving.config, BOTH)
    direction = torch.randn(64)
    noise = torch.randn(80, 1, 64)
    sign = torch.where(torch.arange(80) < 40, 1.0, -1.0)[:, None, None]
    true, shuffled = (0.5 * sign * direction + noise).split(40)
    optimizer = torch.optim.Adam(terms.parameters(), lr=0.02)
    history = []
    for _ in range(60):
        loss, metrics = terms._order(true, shuffled, torch.ones(()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < 0.3 * history[0]
    assert metrics["order_accuracy"] > 0.95


def test_first_step_from_zero_is_bounded_and_moves_the_projection(make_model, video_batch):
    """A plain normalisation of h_m = 0 has an infinite gradient; here the projection gets a finite one at once."""
    model = make_model(temporal="motion")
    objective = DecouplingObjective(model, LOSS, None, BOTH, 0)
    terms = objective(**video_batch)["terms"]
    assert float(terms["motion_order"]) == pytest.approx(0.69, abs=0.1)
    terms["motion_order"].backward()
    gradient = model.decoupling.motion.weight.grad
    assert 0 < gradient.norm() < 100
    assert torch.isfinite(gradient).all()


def test_order_reaches_the_language_model_and_invariance_leaves_the_projection(make_model, video_batch):
    for name, projection in (("motion_order", "motion"), ("motion_invariance", "visual")):
        model = make_model(temporal="motion")
        torch.nn.init.normal_(model.decoupling.motion.weight, std=0.1)
        objective = DecouplingObjective(model, LOSS, None, {name: 1.0}, 0)
        objective(**video_batch)["terms"][name].backward()
        assert model.mllm.model.language_model.layers[0].mlp.up_proj.weight.grad.any()
        for other in ("motion", "visual"):
            part = model.decoupling.motion if other == "motion" else model.decoupling.visual.layers[0]
            assert (part.weight.grad is not None and bool(part.weight.grad.any())) is (other == projection)


@pytest.mark.parametrize("phase", ["decoupling", "fusion"])
def test_the_projection_learns_in_phases_two_and_three(moving, make_model, tmp_path, phase):
    arguments = DeSa2VATrainingArguments(output_dir=str(tmp_path), phase=phase, use_cpu=True)
    assert "decoupling.motion.weight" in free_parameters(make_model(temporal="motion"), trainable_prefixes(arguments))
    assert not [n for n in free_parameters(make_model(), trainable_prefixes(arguments)) if "motion" in n]


def test_impossible_wishes_are_named(make_model, tmp_path):
    with pytest.raises(ValueError, match="temporal='motion'"):
        TemporalTerms(make_model().config, BOTH)
    TemporalTerms(make_model().config, {"motion_invariance": 1.0})  # needs no W_m
    config = make_model(temporal="motion").config
    config.mllm_config.model_type = "qwen2_5_vl"
    with pytest.raises(ValueError, match="InternVL.*qwen2_5_vl"):
        TemporalTerms(config, BOTH)
    with pytest.raises(ValueError, match="shuffled_share=2"):
        DeSa2VATrainingArguments(output_dir=str(tmp_path), use_cpu=True, shuffled_share=2)
